"""The micro-batcher: requests in, forward passes on the device, rows back to who asked."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from copy import copy

from embedwell.batching.jobs import Busy, Failure, Job, Run, Submitted
from embedwell.batching.outcome import Outcome
from embedwell.batching.plan import Limits, Share
from embedwell.batching.probe import Probe
from embedwell.batching.queue import Queue
from embedwell.batching.recovery import Recovery
from embedwell.batching.room import Room
from embedwell.batching.workers import Workers
from embedwell.config.schema import Batching
from embedwell.errors import Draining, ModelError
from embedwell.interfaces.embedding import Tokens
from embedwell.interfaces.encoders import ModelHandle
from embedwell.interfaces.events import BatchRun, Event, WorkerReplaced
from embedwell.interfaces.status import QueueInfo

log = logging.getLogger("embedwell.batching")

MAX_LOST = 4  # threads that never returned before the device counts as dead
WORTH_WAKING = 64  # tokens of a batch, for a thread that has nothing to do
AHEAD = 512  # of one that is planned while all threads are busy: small ones cost more a token


class Batcher:
    """One device's queue and threads; create and use it on the event loop.

    `threads` batches run side by side. `horizon` is in seconds: work that would wait longer is
    refused.

    Greedy: whenever a thread is free it gets the best batch there is, and the one prefetched is
    planned anew as long as no thread has begun it. No timer delays a request.
    """

    def __init__(
        self,
        settings: Batching,
        *,
        device: str,
        threads: int = 1,
        check: Callable[[], None],
        horizon: float,
        emit: Callable[[Event], None],
        clock: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._device = device
        self._check = check
        self._emit = emit
        self._clock = clock
        self._room = Room(settings.max_queued_tokens, horizon)
        self._queue = Queue(self._limits)
        self._recovery = Recovery(self._queue, settings.batch_timeout)
        self._loop = asyncio.get_running_loop()
        self._workers = Workers(
            threads, timeout=settings.batch_timeout, clock=clock, done=self._done, returned=_let_go
        )
        self._jobs: set[Job] = set()
        self._offered: set[Run] = set()  # not answered yet
        self._pump_due = False
        self._closed = False
        self._rate = 0.0
        self._probe: Probe | None = None
        self.fatal: asyncio.Future[str] = self._loop.create_future()
        self.proven = False  # whether the last attempt succeeded

    def room(self, model: str, tokens: Tokens) -> AbstractContextManager[Callable[[], None]]:
        """A place for these tokens until the answer; call what it gives once the model is loaded.

        Raises Overloaded.
        """
        return self._room.enter(model, tokens.total, self._rate)

    @property
    def queued_tokens(self) -> int:
        return self._room.total

    def queue(self) -> QueueInfo:
        """How much is under way, and since when."""
        now = self._clock()
        jobs = [job for job in self._jobs if not job.over]
        oldest = min((job.enqueued for job in jobs), default=now)
        return QueueInfo(
            tokens=self._room.total,
            inputs=sum(job.missing for job in jobs),
            requests=len(jobs),
            oldest_seconds=now - oldest,
        )

    async def submit(self, handle: ModelHandle, tokens: Tokens) -> Submitted:
        """Every sequence's row; the caller holds the lease.

        Raises ModelError for an input the model fails on, DeadlineExceeded for one that blocks
        it, OutOfMemory for one sequence that does not fit by itself, Draining at the end.
        """
        if self._closed:
            raise Draining()
        job = Job(handle, tokens, self._loop.create_future(), self._clock())
        self._jobs.add(job)
        self._queue.add(job)
        self._wake()
        try:
            return await job.future
        finally:
            self._jobs.discard(job)
            self._queue.discard(job)

    async def prove(self) -> None:
        """A small product on the device, once for all who ask; raises ModelError."""
        if self._closed:
            raise Draining()
        if self._probe is None or self._probe.proof.done():
            self._probe = Probe(self._check, self._loop.create_future())
            self._wake()
        await asyncio.shield(self._probe.proof)

    async def aclose(self) -> None:
        """Fail every request that is not answered, and let the threads end after what they run."""
        self._closed = True
        self._take_back()
        self._fail_all(Draining())
        self._workers.close()

    def _limits(self, handle: ModelHandle) -> Limits:
        facts = handle.encoder.facts
        wanted = self._settings.max_batch_tokens or facts.batch_tokens
        budget = self._recovery.capped(handle.encoder, wanted)
        return Limits(budget, facts.verdict.packed, facts.verdict.single)

    def _wake(self) -> None:
        """Plan once for all that arrives in this turn of the loop."""
        if not self._pump_due:
            self._pump_due = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        self._pump_due = False
        if self._closed:
            return
        with self._guarded():
            idle = self._take_back()
            for free in range(idle, -1, -1):
                work = self._next_work(free)
                if work is None:
                    break
                self._workers.offer(work)

    def _take_back(self) -> int:
        """What no thread has begun goes back, to be planned with what came since; who is idle."""
        taken, idle = self._workers.retract()
        runs = [work for work in taken if isinstance(work, Run)]
        for run in runs:  # before anything can fail: what stays offered may bar others for ever
            self._offered.discard(run)
            run.handle.release()
        for run in reversed(runs):
            self._queue.restore(run)
        if self._probe is not None and self._probe in taken:
            self._probe.offered = False
        return idle

    def _next_work(self, free: int) -> Run | Probe | None:
        """For one of the `free` threads; where there is none, for the first that will be."""
        probe = self._probe
        if probe is not None and not probe.offered and not probe.proof.done():
            probe.offered = True
            return probe
        share = Share(free, WORTH_WAKING) if free else Share(self._workers.count, AHEAD)
        run = self._queue.next_run(share, self._busy())
        if run is not None:
            run.handle.hold()
            self._offered.add(run)
        return run

    def _busy(self) -> Busy:
        """A peak counts one long sequence; some models keep a length in themselves meanwhile."""
        singles = frozenset(run.handle.encoder for run in self._offered if run.single)
        return Busy(singles, any(run.long for run in self._offered))

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """A fault of the planning itself fails everyone who waits, rather than leaving them."""
        try:
            yield
        except Exception:
            log.exception("the batcher failed")
            self._fail_all(ModelError("The batch could not be run, see the server's log"))

    def _fail_all(self, error: Exception) -> None:
        self._queue.clear()
        for job in self._jobs:
            job.fail(copy(error))
        if self._probe is not None:
            self._probe.settle(copy(error))

    def _done(self, work: Run | Probe, outcome: Outcome) -> None:
        failure = outcome.result if isinstance(outcome.result, Failure) else None
        self._offered.discard(work)  # one that hangs bars nobody any more
        self.proven = failure is None
        with self._guarded():
            if isinstance(work, Probe):
                reason = f"The device failed: {failure.reason}" if failure else ""
                work.settle(ModelError(reason) if failure else None)
            else:
                self._report(work, outcome, failure)
                if failure is None:
                    work.deliver(outcome.result, outcome.turn.began)
                else:
                    self._recovery.recover(work, failure)
        if failure is not None:
            self._note_loss(failure)
        self._wake()

    def _report(self, run: Run, outcome: Outcome, failure: Failure | None) -> None:
        tokens = sum(run.lengths)
        if failure is None and outcome.turn.seconds > 0:
            rate = outcome.turn.abreast * tokens / outcome.turn.seconds
            self._rate = rate if not self._rate else 0.9 * self._rate + 0.1 * rate
        self._emit(
            BatchRun(
                at=self._clock(),
                model=run.handle.name,
                items=len(run.lengths),
                requests=len(run.parts),
                tokens=tokens,
                cost=run.cost,
                seconds=outcome.turn.seconds,
                outcome=failure.kind if failure else "ok",
            )
        )

    def _note_loss(self, failure: Failure) -> None:
        if failure.kind == "timeout":
            self._emit(
                WorkerReplaced(at=self._clock(), device=self._device, lost=self._workers.lost)
            )
        most = MAX_LOST + self._workers.count - 1  # one stall of the machine loses them all at once
        dead = failure.kind == "fatal" or self._workers.lost >= most
        if dead and not self.fatal.done():
            self.fatal.set_result(
                f"{self._workers.lost} forward passes never returned"
                if failure.kind == "timeout"
                else f"the device failed: {failure.reason}"
            )


def _let_go(work: Run | Probe) -> None:
    if isinstance(work, Run):
        work.handle.release()
