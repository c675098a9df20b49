"""How many uploads there are at once."""

from collections.abc import Iterator
from contextlib import contextmanager

from embedwell import Overloaded

RETRY_AFTER = 10.0  # seconds


class Slots:
    """Nobody waits for one: a client that did would hold its connection and its body."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._taken = 0

    @contextmanager
    def one(self) -> Iterator[None]:
        """Raises Overloaded when all are taken."""
        if self._taken >= self._limit:
            count = f"{self._limit} upload" + ("s" if self._limit > 1 else "")
            raise Overloaded(
                f"The server takes {count} at a time; try again", retry_after=RETRY_AFTER
            )
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1
