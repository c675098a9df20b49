"""Background work: started once per kind and key, owned, cancellable, written down."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

from embedwell.errors import Conflict, Draining, EmbedwellError, TaskNotFound, bare
from embedwell.interfaces.events import Event, TaskFinished
from embedwell.interfaces.models import Progress
from embedwell.interfaces.tasks import Task
from embedwell.tasks.journal import Journal, NoJournal
from embedwell.tasks.record import Record

log = logging.getLogger("embedwell.tasks")

KEPT = 1_000  # finished tasks that are remembered
KEPT_SECONDS = 7 * 86_400.0  # and for how long
PATIENCE = 5.0  # seconds that a cancelled task has to end before `cancel` answers


class TaskRunner:
    """Runs tasks on the loop that starts them; `clock` is monotonic, `wall` Unix seconds.

    With a journal, tasks of earlier runs are listed too. It learns of starts and ends, not of
    progress.
    """

    def __init__(
        self,
        emit: Callable[[Event], None],
        clock: Callable[[], float],
        wall: Callable[[], float],
        journal: Journal | None = None,
    ) -> None:
        self._emit = emit
        self._clock = clock
        self._wall = wall
        self._journal: Journal = journal or NoJournal()
        earlier = map(Record.of, self._journal.load())
        self._records = {record.id: record for record in earlier}  # oldest first
        self._running: dict[tuple[str, str], Record] = {}
        self._closing = False
        self._forget_old()

    def start(self, kind: str, key: str, run: Callable[[Progress], Awaitable[Any]]) -> Task:
        """As `Tasks.start`; once the server is stopping, what starts is cancelled at once."""
        under_way = self._running.get((kind, key))
        if under_way is not None:
            return under_way.seen()
        record = Record(kind, key, self._wall(), self._clock())
        self._records[record.id] = self._running[kind, key] = record
        record.worker = asyncio.get_running_loop().create_task(self._work(record, run))
        record.worker.add_done_callback(lambda _: self._finish(record))
        self._journal.save(record.seen())
        if self._closing:
            self._stop(record)
        return record.seen()

    async def result(self, id: str) -> Any:
        """As `Tasks.result`; raises TaskNotFound for a task that was cancelled.

        Draining where it was so because the server stops. Of an earlier run's task only a failure
        is still known, not what it returned.
        """
        record = self._record(id)
        await record.ended.wait()
        if self._closing and record.status == "cancelled":
            raise Draining()
        return record.result()

    def get(self, id: str) -> Task:
        return self._record(id).seen()

    def list(self) -> Sequence[Task]:
        """Newest first."""
        self._forget_old()
        return [record.seen() for record in reversed(self._records.values())]

    async def cancel(self, id: str) -> Task:
        """End a task that has not ended, and say how it stands; another stays as it is."""
        record = self._record(id)
        self._stop(record)
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await record.ended.wait()
        return record.seen()

    def remove(self, id: str) -> None:
        record = self._record(id)
        if record.finished is None:
            raise Conflict(f"Task {record.id} has not ended: cancel it first")
        self._forget(record)

    async def aclose(self) -> None:
        """Cancel what runs, and return when all of it has ended."""
        self._closing = True
        running = [*self._running.values()]
        for record in running:
            self._stop(record)
        for record in running:
            await record.ended.wait()

    def _record(self, id: str) -> Record:
        try:
            return self._records[id]
        except KeyError:
            raise TaskNotFound(f"Task not found: {id[:100]}") from None

    def _stop(self, record: Record) -> None:
        if record.worker is not None and record.worker.cancel():
            record.cancelling = True

    async def _work(self, record: Record, run: Callable[[Progress], Awaitable[Any]]) -> None:
        try:
            record.value = await run(record.progress)
        except asyncio.CancelledError:
            if not record.cancelling:  # by nobody who could: it failed
                record.failure = _internal(record)
        except EmbedwellError as error:
            record.failure = bare(error)  # the record outlives its frames
        except GeneratorExit:
            raise
        except BaseException:  # SystemExit would end the loop, and a panic would count as done
            log.exception("%s %s failed", record.kind, record.key)
            record.failure = _internal(record)
        else:
            record.cancelling = False  # it finished all the same

    def _finish(self, record: Record) -> None:
        """Also for a worker that was cancelled before its first step."""
        record.end(self._wall())
        del self._running[record.kind, record.key]
        self._journal.save(record.seen())
        self._forget_old()
        self._emit(
            TaskFinished(
                at=self._clock(),
                id=record.id,
                kind=record.kind,
                key=record.key,
                status=record.status,
                seconds=self._clock() - record.started,
                error=record.seen().error,
            )
        )

    def _forget_old(self) -> None:
        finished = [r for r in self._records.values() if r.finished is not None]
        over = max(0, len(finished) - KEPT)
        oldest = self._wall() - KEPT_SECONDS
        for number, record in enumerate(finished):
            if number < over or (record.finished or 0) < oldest:
                self._forget(record)

    def _forget(self, record: Record) -> None:
        del self._records[record.id]
        self._journal.remove(record.id)


def _internal(record: Record) -> EmbedwellError:
    return EmbedwellError(f"{record.kind} {record.key} failed for an internal reason")
