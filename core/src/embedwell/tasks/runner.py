"""Background work in memory: started once per kind and key, owned, cancellable."""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

from embedwell.errors import EmbedwellError, TaskNotFound
from embedwell.interfaces.events import Event, TaskFinished
from embedwell.interfaces.models import Progress
from embedwell.interfaces.tasks import Status, Task

log = logging.getLogger("embedwell.tasks")

KEPT = 1_000  # finished tasks that are remembered
PATIENCE = 5.0  # seconds that a cancelled task has to end before `cancel` answers


class _Record:
    """A task from its start until it is forgotten."""

    def __init__(self, kind: str, key: str, created: float, started: float) -> None:
        self.id = secrets.token_hex(8)
        self.kind = kind
        self.key = key
        self.created = created
        self.started = started
        self.status: Status = "running"
        self.done = 0
        self.total: int | None = None
        self.finished: float | None = None
        self.value: Any = None
        self.failure: EmbedwellError | None = None
        self.cancelling = False
        self.ended = asyncio.Event()
        self.worker: asyncio.Task[None] | None = None

    def progress(self, done: int, total: int | None) -> None:
        if self.status == "running":
            self.done = max(self.done, done)
            self.total = total if total is None else max(total, self.done)

    def seen(self) -> Task:
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


class TaskRunner:
    """Runs tasks on the loop that starts them; `clock` is monotonic, `wall` Unix seconds."""

    def __init__(
        self,
        emit: Callable[[Event], None],
        clock: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self._emit = emit
        self._clock = clock
        self._wall = wall
        self._records: dict[str, _Record] = {}  # oldest first
        self._running: dict[tuple[str, str], _Record] = {}
        self._closing = False

    def start(self, kind: str, key: str, run: Callable[[Progress], Awaitable[Any]]) -> Task:
        """As `Tasks.start`; once the server is stopping, what starts is cancelled at once."""
        under_way = self._running.get((kind, key))
        if under_way is not None:
            return under_way.seen()
        record = _Record(kind, key, self._wall(), self._clock())
        self._records[record.id] = self._running[kind, key] = record
        record.worker = asyncio.get_running_loop().create_task(self._work(record, run))
        record.worker.add_done_callback(lambda _: self._finish(record))
        if self._closing:
            self._stop(record)
        return record.seen()

    async def result(self, id: str) -> Any:
        """As `Tasks.result`; raises TaskNotFound for a task that was cancelled."""
        record = self._record(id)
        await record.ended.wait()
        if record.status == "cancelled":
            raise TaskNotFound(f"The task was cancelled: {record.kind} {record.key}")
        if record.failure is not None:
            raise record.failure
        return record.value

    def get(self, id: str) -> Task:
        return self._record(id).seen()

    def list(self) -> Sequence[Task]:
        """Newest first."""
        return [record.seen() for record in reversed(self._records.values())]

    async def cancel(self, id: str) -> Task:
        """End a running task and say how it stands; a finished one stays as it is."""
        record = self._record(id)
        self._stop(record)
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await record.ended.wait()
        return record.seen()

    async def aclose(self) -> None:
        """Cancel what runs, and return when all of it has ended."""
        self._closing = True
        running = [*self._running.values()]
        for record in running:
            self._stop(record)
        for record in running:
            await record.ended.wait()

    def _record(self, id: str) -> _Record:
        try:
            return self._records[id]
        except KeyError:
            raise TaskNotFound(f"Task not found: {id[:100]}") from None

    def _stop(self, record: _Record) -> None:
        if record.worker is not None and record.status == "running":
            record.cancelling = True
            record.worker.cancel()

    async def _work(self, record: _Record, run: Callable[[Progress], Awaitable[Any]]) -> None:
        try:
            record.value = await run(record.progress)
        except asyncio.CancelledError:
            if not record.cancelling:  # by nobody who could: it failed
                record.failure = _internal(record)
        except EmbedwellError as error:
            record.failure = error.with_traceback(None)  # the record outlives its frames
        except Exception:
            log.exception("%s %s failed", record.kind, record.key)
            record.failure = _internal(record)
        else:
            record.cancelling = False  # it finished all the same

    def _finish(self, record: _Record) -> None:
        """Also for a worker that was cancelled before its first step."""
        if record.cancelling:
            record.status = "cancelled"
        else:
            record.status = "failed" if record.failure is not None else "done"
        record.finished = self._wall()
        record.worker = None
        record.ended.set()
        del self._running[record.kind, record.key]
        self._forget_oldest()
        self._emit(
            TaskFinished(
                at=self._clock(),
                id=record.id,
                kind=record.kind,
                key=record.key,
                status=record.status,
                seconds=self._clock() - record.started,
            )
        )

    def _forget_oldest(self) -> None:
        over = len(self._records) - len(self._running) - KEPT
        finished = [record.id for record in self._records.values() if record.worker is None]
        for forgotten in finished[: max(0, over)]:
            del self._records[forgotten]


def _internal(record: _Record) -> EmbedwellError:
    return EmbedwellError(f"{record.kind} {record.key} failed for an internal reason")
