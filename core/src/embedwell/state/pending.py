"""Writes that wait for the disk: in order, and of those with the same key only the last."""

from collections.abc import Hashable

from msgspec import Struct

Value = str | int | float | None
MOST = 100_000  # while the disk refuses: then the oldest are lost to it


class Statement(Struct, frozen=True):
    """One statement of SQL and its values."""

    sql: str
    values: tuple[Value, ...]


Batch = dict[Hashable, Statement]


class Pending:
    """A bounded queue; `dropped` counts what it gave up; who has told that sets it to 0."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._items: Batch = {}
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._items)

    def put(self, key: Hashable, statement: Statement) -> None:
        """To the end; what has the same key is forgotten."""
        self._items.pop(key, None)
        self._items[key] = statement
        if len(self._items) > self._most:
            del self._items[next(iter(self._items))]
            self.dropped += 1

    def take(self) -> Batch:
        """All of it, oldest first."""
        taken, self._items = self._items, {}
        return taken

    def give_back(self, batch: Batch) -> None:
        """What was taken and not written, before what came since."""
        newer, self._items = self._items, batch
        for key, statement in newer.items():
            self.put(key, statement)
