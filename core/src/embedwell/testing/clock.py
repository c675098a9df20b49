"""A clock that a test moves by hand."""


class FakeClock:
    """Call it for the time in seconds; add to `now` to let time pass."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now
