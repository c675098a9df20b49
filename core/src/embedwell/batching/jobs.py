"""The batcher's own values: a request's sequences, and one run of some of them."""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from embedwell.batching.plan import Limits, cost
from embedwell.interfaces.embedding import Tokens
from embedwell.interfaces.encoders import Batch, ModelHandle

if TYPE_CHECKING:
    from embedwell.interfaces.encoders import Rows


class Chunk(Struct, frozen=True):
    """Some of a request's rows: row i belongs to the input at `indices[i]`."""

    indices: tuple[int, ...]
    rows: "Rows"


class Submitted(Struct, frozen=True):
    """All rows of a request, in chunks, and the seconds until its first batch began."""

    chunks: tuple[Chunk, ...]
    queue_seconds: float


class Failure(Struct, frozen=True):
    """Why a run gave no rows; crosses the thread as a value, for frames hold tensors."""

    kind: Literal["out_of_memory", "error", "timeout", "fatal"]
    reason: str


class Job:
    """One request's sequences; `waiting` are those that no run holds, longest first."""

    def __init__(
        self, handle: ModelHandle, tokens: Tokens, future: "asyncio.Future[Submitted]", now: float
    ) -> None:
        self.handle = handle
        self.tokens = tokens
        self.future = future
        self.enqueued = now
        self.began: float | None = None
        lengths = tokens.lengths
        self.waiting = deque(sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True))
        self.missing = len(lengths)
        self.chunks: list[Chunk] = []

    @property
    def over(self) -> bool:
        return self.future.done()

    @property
    def longest(self) -> int:
        """Tokens of its next sequence, the longest of those that wait."""
        return self.tokens.lengths[self.waiting[0]]

    def deliver(self, chunk: Chunk, began: float) -> None:
        if self.over:
            return
        self.began = began if self.began is None else min(self.began, began)
        self.chunks.append(chunk)
        self.missing -= len(chunk.indices)
        if not self.missing:
            queued = max(0.0, self.began - self.enqueued)
            self.future.set_result(Submitted(tuple(self.chunks), queued))

    def fail(self, error: Exception) -> None:
        if not self.over:
            self.future.set_exception(error)
            self.chunks.clear()


class Part(Struct, frozen=True):
    """Sequences of one job within a run."""

    job: Job
    indices: tuple[int, ...]


class Run:
    """One forward pass, planned. A `forced` one is run as it is, never merged or topped up."""

    def __init__(self, parts: Sequence[Part], limits: Limits, *, forced: bool = False) -> None:
        self.parts = tuple(parts)
        self.handle = self.parts[0].job.handle
        self.limits = limits
        self.forced = forced
        self.lengths = tuple(p.job.tokens.lengths[i] for p in self.parts for i in p.indices)
        self.cost = cost(self.lengths, limits)
        self._batch = Batch(
            b"".join(p.job.tokens.ids[i] for p in self.parts for i in p.indices),
            self.lengths,
            tuple(p.job.tokens.skip for p in self.parts for _ in p.indices),
        )

    @property
    def long(self) -> bool:
        """Whether it is one sequence that takes more memory than a batch may."""
        return len(self.lengths) == 1 and self.cost > self.handle.encoder.facts.batch_tokens

    @property
    def items(self) -> list[tuple[Job, int]]:
        return [(part.job, index) for part in self.parts for index in part.indices]

    def perform(self) -> "Rows":
        rows = self.handle.encoder.encode(self._batch)
        expected = (len(self.lengths), self.handle.encoder.facts.dimensions)
        if rows.shape != expected:
            raise ValueError(f"the encoder gave rows of shape {rows.shape}, not {expected}")
        return rows

    def deliver(self, rows: "Rows", began: float) -> None:
        start = 0
        for part in self.parts:
            end = start + len(part.indices)
            part.job.deliver(Chunk(part.indices, rows[start:end]), began)
            start = end


def parts_of(items: Sequence[tuple[Job, int]]) -> list[Part]:
    """Sequences grouped by job again, order kept; those of jobs that are over are dropped."""
    grouped: dict[Job, list[int]] = {}
    for job, index in items:
        if not job.over:
            grouped.setdefault(job, []).append(index)
    return [Part(job, tuple(indices)) for job, indices in grouped.items()]
