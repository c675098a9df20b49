"""Sequences that wait, by model and request; round robin over both."""

from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from itertools import islice

from embedwell.batching.jobs import Job, Part, Run, parts_of
from embedwell.batching.plan import Limits, fill, reach, shared
from embedwell.interfaces.encoders import Encoder, ModelHandle

MAX_SEQUENCES = 4096  # of one request that a plan looks at; a batch never holds more


class Queue:
    """Jobs in turn, and the runs that must go before them; on the loop only."""

    def __init__(self, limits: Callable[[ModelHandle], Limits]) -> None:
        self._limits = limits
        self._models: OrderedDict[Encoder, deque[Job]] = OrderedDict()
        self._forced: deque[Run] = deque()

    def add(self, job: Job) -> None:
        self._models.setdefault(job.handle.encoder, deque()).append(job)

    def discard(self, job: Job) -> None:
        """Forget a job that nobody waits for any more."""
        jobs = self._models.get(job.handle.encoder)
        if jobs is not None and job in jobs:
            jobs.remove(job)
            if not jobs:
                del self._models[job.handle.encoder]

    def force(self, parts: Sequence[Part], limits: Limits) -> None:
        """These run next, by themselves."""
        self._forced.append(Run(parts, limits, forced=True))

    def restore(self, run: Run) -> None:
        """Take back a run that the device has not begun."""
        if run.forced:
            self._forced.appendleft(run)
            return
        for part in reversed(run.parts):
            if not part.job.over:
                self._put_first(part)
        if run.handle.encoder in self._models:
            self._models.move_to_end(run.handle.encoder, last=False)

    def _put_first(self, part: Part) -> None:
        if not part.job.waiting:
            self._models.setdefault(part.job.handle.encoder, deque()).appendleft(part.job)
        part.job.waiting.extendleft(reversed(part.indices))

    def next_run(self, threads: int = 1, least: int = 1) -> Run | None:
        """What to run now, or None; jobs that are over are dropped on the way.

        Others of so many `threads` get as much, where a batch then still has `least` tokens.
        """
        while self._forced:
            run = self._forced.popleft()
            parts = parts_of(run.items)
            if parts:
                return Run(parts, run.limits, forced=True)
        while self._models:
            encoder, jobs = next(iter(self._models.items()))
            run_or_none = self._take(jobs, threads, least)
            self._models.move_to_end(encoder)
            if not jobs:
                del self._models[encoder]
            if run_or_none:
                return run_or_none
        return None

    def _take(self, jobs: deque[Job], threads: int, least: int) -> Run | None:
        alive = [job for job in jobs if not job.over and job.waiting]
        if not alive:
            jobs.clear()
            return None
        limits = self._limits(alive[0].handle)
        waiting = _tokens(alive, threads * limits.budget)
        counts = _counts(alive, shared(waiting, limits, threads, least))
        parts = [
            Part(job, tuple(job.waiting.popleft() for _ in range(count)))
            for job, count in counts.items()
            if count
        ]
        jobs.clear()
        jobs.extend(job for job in alive if not counts.get(job))
        jobs.extend(part.job for part in parts if part.job.waiting)
        return Run(parts, limits)

    def clear(self) -> None:
        """Forget everything that waits."""
        self._models.clear()
        self._forced.clear()


def _tokens(alive: Sequence[Job], enough: int) -> int:
    """How many tokens wait, at most a little more than `enough`."""
    total = 0
    for job in alive:
        total += sum(job.tokens.lengths[i] for i in job.waiting)
        if total >= enough:
            break
    return total


def _counts(alive: Sequence[Job], limits: Limits) -> dict[Job, int]:
    """How many sequences each gives to the next batch; of thousands few are looked at."""
    oldest = min(alive, key=_enqueued)
    near = alive[: reach((job.longest for job in alive), limits.budget)]
    asked = near if oldest in near else [*near, oldest]
    lengths = [_lengths(job, limits.budget) for job in asked]
    return dict(zip(asked, fill(lengths, limits, asked.index(oldest)), strict=True))


def _enqueued(job: Job) -> float:
    return job.enqueued


def _lengths(job: Job, budget: int) -> list[int]:
    """As many as could go into one batch: they are sorted, so the last is the shortest."""
    lengths = job.tokens.lengths
    most = min(MAX_SEQUENCES, budget // lengths[job.waiting[-1]] + 1)
    return [lengths[i] for i in islice(job.waiting, most)]
