"""Whether a model's files have been left alone for long enough to count as written."""

from collections.abc import Callable
from pathlib import Path

from embedwell_source_training.content import Content, File

REMEMBERED = 10_000


class Settled:
    """By the files' times, and where those lie in the future by what was seen before.

    `wall` is Unix seconds, `clock` monotonic; called in threads.
    """

    def __init__(
        self, seconds: float, wall: Callable[[], float], clock: Callable[[], float]
    ) -> None:
        self._seconds = seconds
        self._wall = wall
        self._clock = clock
        self._since: dict[Path, tuple[tuple[File, ...], float]] = {}

    def __call__(self, content: Content) -> bool:
        if self._wall() - content.changed >= self._seconds:
            self._since.pop(content.folder, None)
            return True
        files, since = self._since.get(content.folder, ((), 0.0))
        if files == content.files:
            return self._clock() - since >= self._seconds
        if len(self._since) >= REMEMBERED:
            self._since.clear()
        self._since[content.folder] = (content.files, self._clock())
        return False
