"""The journal of tasks: which there were, and how they ended."""

import logging
from collections.abc import Callable, Sequence
from typing import Any, Self

import msgspec
from msgspec.structs import replace

from embedwell.interfaces.tasks import Task
from embedwell.state.database import Database

log = logging.getLogger("embedwell.state")

INTERRUPTED = "The server stopped before it was done; ask again"
FIELDS = ("id", "kind", "key", "status", "done", "total", "error", "created", "finished")
ALL = f"SELECT {', '.join(FIELDS)} FROM tasks ORDER BY created, id"  # noqa: S608 - our own names
PUT = (
    f"INSERT INTO tasks ({', '.join(FIELDS)}) VALUES ({', '.join('?' * len(FIELDS))}) "  # noqa: S608
    "ON CONFLICT (id) DO UPDATE SET "
    f"{', '.join(f'{name} = excluded.{name}' for name in FIELDS[1:])}"
)


class TaskJournal:
    """Made by `open`; loop only. How many are kept is up to whoever saves and removes."""

    def __init__(self, database: Database, found: Sequence[Task]) -> None:
        self._database = database
        self._found = found

    @classmethod
    async def open(cls, database: Database, wall: Callable[[], float]) -> Self:
        """With the tasks of earlier runs; those that were under way have failed now."""
        found: list[Task] = []
        journal = cls(database, found)
        for row in await database.read(ALL):
            task = _read(row)
            if task is None:
                journal.remove(row[0])
            elif task.status in ("queued", "running"):
                task = replace(task, status="failed", error=INTERRUPTED, finished=wall())
                journal.save(task)
            if task is not None:
                found.append(task)
        return journal

    def save(self, task: Task) -> None:
        """As it stands now."""
        self._database.execute(
            PUT, tuple(getattr(task, name) for name in FIELDS), ("tasks", task.id)
        )

    def remove(self, id: str) -> None:
        self._database.execute("DELETE FROM tasks WHERE id = ?", (id,), ("tasks", id))

    def load(self) -> list[Task]:
        """Those of earlier runs, oldest first."""
        return [*self._found]


def _read(row: Sequence[Any]) -> Task | None:
    try:
        return msgspec.convert(dict(zip(FIELDS, row, strict=True)), Task)
    except msgspec.ValidationError as error:
        log.warning("a task cannot be read and is left out: %s", error)
        return None
