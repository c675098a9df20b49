"""When each model was last asked for; loop only."""

from collections.abc import Callable

from embedwell import ModelKey

REMEMBERED = 10_000


class Usage:
    """`clock` is in seconds; what was not asked for yet counts as used when this was made."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._since = clock()
        self._last: dict[ModelKey, float] = {}

    def note(self, key: ModelKey) -> None:
        """It is asked for now."""
        if len(self._last) >= REMEMBERED:
            self._last.clear()
            self._since = self._clock()
        self._last[key] = self._clock()

    def last(self, key: ModelKey) -> float:
        """By the clock, in seconds."""
        return self._last.get(key, self._since)
