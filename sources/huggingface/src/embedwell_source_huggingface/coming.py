"""Bytes that downloads under way have not brought yet; loop only."""

from collections.abc import Iterator
from contextlib import contextmanager

from embedwell import Progress


class Coming:
    """The sum over all downloads that are entered."""

    def __init__(self) -> None:
        self._left: dict[object, int] = {}

    @property
    def bytes(self) -> int:
        """All that is still to come."""
        return sum(self._left.values())

    @contextmanager
    def of(self, size: int, progress: Progress) -> Iterator[Progress]:
        """A download of so many bytes until the block ends; it reports to what this yields."""
        download = object()
        self._left[download] = size

        def moved(done: int, total: int | None) -> None:
            self._left[download] = max(size - done, 0)
            progress(done, total)

        try:
            yield moved
        finally:
            del self._left[download]
