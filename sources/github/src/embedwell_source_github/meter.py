"""Counts what arrives: for the client's progress, and against the limit."""

from embedwell import InvalidModel, Progress


class Meter:
    """Bytes of one model; `done` may be set back before another attempt."""

    def __init__(self, limit: int, progress: Progress) -> None:
        self._limit = limit
        self._progress = progress
        self._total: int | None = None
        self.done = 0

    def expect(self, more: int) -> None:
        """Say that so many bytes are still to come; raises InvalidModel where they are too many."""
        self._check(self.done + more)
        self._total = self.done + more
        self._progress(self.done, self._total)

    def add(self, arrived: int) -> None:
        """Raises InvalidModel beyond the limit."""
        self.done += arrived
        self._check(self.done)
        if self._total is not None and self.done > self._total:
            self._total = None
        self._progress(self.done, self._total)

    def _check(self, size: int) -> None:
        if size > self._limit:
            raise InvalidModel(
                f"The download is larger than {self._limit / 1e9:g} GB "
                "(max_size_gb in [sources.github])"
            )
