"""A task from its start until it is forgotten."""

import asyncio
import secrets
from typing import Any

from embedwell.errors import EmbedwellError, TaskNotFound, bare
from embedwell.interfaces.tasks import Task, TaskStatus


class Record:
    """`started` is on the monotonic clock, `created` and `finished` are Unix seconds."""

    def __init__(self, kind: str, key: str, created: float, started: float) -> None:
        self.id = secrets.token_hex(8)
        self.kind = kind
        self.key = key
        self.created = created
        self.started = started
        self.status: TaskStatus = "queued"
        self.done = 0
        self.total: int | None = None
        self.finished: float | None = None
        self.value: Any = None
        self.failure: EmbedwellError | None = None
        self.cancelling = False
        self.ended = asyncio.Event()
        self.worker: asyncio.Task[None] | None = None

    @classmethod
    def of(cls, task: Task) -> "Record":
        """Of an earlier run: it has ended, and what it returned is not known any more."""
        record = cls(task.kind, task.key, task.created, 0.0)
        record.id, record.status = task.id, task.status
        record.done, record.total = task.done, task.total
        record.finished = task.created if task.finished is None else task.finished
        record.failure = None if task.error is None else EmbedwellError(task.error)
        record.ended.set()
        return record

    def progress(self, done: int, total: int | None) -> None:
        """The work has begun; goes forward only, and no further once it has ended."""
        if self.finished is None:
            self.status = "running"
            self.done = max(self.done, done)
            self.total = total if total is None else max(total, self.done)

    def end(self, now: float) -> None:
        """Settle how it ended, and tell who waits."""
        if self.cancelling:
            self.status = "cancelled"
        else:
            self.status = "failed" if self.failure is not None else "done"
        self.finished = now
        self.worker = None
        self.ended.set()

    def result(self) -> Any:
        """What it returned, once it has ended; raises what it raised, or TaskNotFound."""
        if self.status == "cancelled":
            raise TaskNotFound(f"The task was cancelled: {self.kind} {self.key}")
        if self.failure is not None:
            raise bare(self.failure)
        return self.value

    def seen(self) -> Task:
        """As clients see it."""
        return Task(
            id=self.id,
            kind=self.kind,
            key=self.key,
            status=self.status,
            done=self.done,
            total=self.total,
            error=self.failure.message if self.failure else None,
            created=self.created,
            finished=self.finished,
        )
