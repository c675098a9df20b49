"""What the Hub said that it does not have, for a while; loop only."""

from collections.abc import Callable

SECONDS = 60.0
REMEMBERED = 10_000


class Absences:
    """Names that nobody has would cost a process each time; `clock` is in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._until: dict[tuple[str, str], float] = {}  # the oldest first

    def note(self, repo: str, revision: str) -> None:
        """The Hub just said so."""
        self._until.pop((repo, revision), None)
        if len(self._until) >= REMEMBERED:
            del self._until[next(iter(self._until))]
        self._until[repo, revision] = self._clock() + SECONDS

    def known(self, repo: str, revision: str) -> bool:
        """Whether the Hub said so of late."""
        return self._clock() < self._until.get((repo, revision), 0)

    def forget(self, repo: str) -> None:
        """It may be there by now, at any revision."""
        self._until = {key: until for key, until in self._until.items() if key[0] != repo}
