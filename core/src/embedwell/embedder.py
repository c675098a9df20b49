"""The request path: a call in, finite float32 rows out, in input order."""

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from embedwell.batching.batcher import Batcher
from embedwell.batching.jobs import Chunk, Submitted
from embedwell.cache.model_cache import ModelCache
from embedwell.cache.resident import Lease
from embedwell.errors import (
    DeadlineExceeded,
    EmbedwellError,
    Invalid,
    InvalidModel,
    ModelError,
    OutOfMemory,
)
from embedwell.interfaces.embedding import EmbeddingCall, Embeddings, Timings, Tokens
from embedwell.interfaces.events import Embedded, Event
from embedwell.interfaces.models import Manifest, Snapshot
from embedwell.interfaces.services import Registry, Threads
from embedwell.models.manifests import Manifests
from embedwell.tokenization.tokenizers import Tokenizers

if TYPE_CHECKING:
    from embedwell.interfaces.encoders import Rows

INLINE_VALUES = 200_000  # floats finished on the loop; more go to a thread


class RequestPath:
    """Embeds; holds nothing of a request after its answer."""

    def __init__(
        self,
        *,
        registry: Registry,
        manifests: Manifests,
        tokenizers: Tokenizers,
        batcher: Batcher,
        cache: ModelCache,
        threads: Threads,
        dtype: str,
        max_inputs: int,
        emit: Callable[[Event], None],
        clock: Callable[[], float],
    ) -> None:
        self._registry = registry
        self._manifests = manifests
        self._tokenizers = tokenizers
        self._batcher = batcher
        self._cache = cache
        self._threads = threads
        self._dtype = dtype
        self._max_inputs = max_inputs
        self._emit = emit
        self._clock = clock

    async def embed(self, call: EmbeddingCall) -> Embeddings:
        """Raises an EmbedwellError (DeadlineExceeded after `call.timeout`).

        A client that left arrives as cancellation, and leaves nothing behind.
        """
        record = _Record(call, self._clock)
        try:
            rows = await self._in_time(call, record)
        except EmbedwellError as error:
            self._emit(record.event(error.code))
            raise
        except asyncio.CancelledError:
            self._emit(record.event("cancelled"))
            raise
        except BaseException:
            self._emit(record.event("INTERNAL"))
            raise
        self._emit(record.event("ok"))
        return rows

    async def _in_time(self, call: EmbeddingCall, record: "_Record") -> Embeddings:
        try:
            async with asyncio.timeout(call.timeout) as limit:
                return await self._embed(call, record)
        except InvalidModel as error:
            raise InvalidModel(f"{record.model}: {error.message}") from None
        except TimeoutError:
            if not limit.expired():
                raise  # somebody else's: a network file system has its own
            message = f"The request was not answered within {call.timeout:.3g} seconds"
            raise DeadlineExceeded(message) from None

    async def _embed(self, call: EmbeddingCall, record: "_Record") -> Embeddings:
        self._check_inputs(call)
        async with self._registry.open(call.ref) as snapshot:
            record.resolved(snapshot)
            manifest = await self._manifests.of(snapshot)
            check_dimensions(call, manifest)
            began = self._clock()
            tokens = await self._tokenizers.encode(snapshot, manifest, call)
            record.tokenized(tokens, began)
            room = self._batcher.room(str(snapshot.key), tokens)
            with room as loaded:
                async with self._cache.lease(snapshot, self._dtype) as model:
                    loaded()
                    record.leased()
                    answer = await self._run(model, tokens)
        record.queue += answer.queue_seconds
        finishing = (answer.chunks, len(tokens.lengths), call, manifest)
        if len(tokens.lengths) * manifest.dimensions > INLINE_VALUES:
            rows = await self._threads.run(finish, *finishing)
        else:
            rows = finish(*finishing)
        return record.answered(rows, tokens)

    def _check_inputs(self, call: EmbeddingCall) -> None:
        if not call.texts:
            raise Invalid("input: give at least one text or token list", param="input")
        if len(call.texts) > self._max_inputs:
            message = f"input: {len(call.texts)} items, at most {self._max_inputs} are taken"
            raise Invalid(message, param="input")

    async def _run(self, model: Lease, tokens: Tokens) -> Submitted:
        try:
            return await self._batcher.submit(model, tokens)
        except OutOfMemory:
            await self._cache.reclaim()
        return await self._batcher.submit(model, tokens)


class _Record:
    """One call's times and counts, as they become known."""

    def __init__(self, call: EmbeddingCall, clock: Callable[[], float]) -> None:
        self._call = call
        self._clock = clock
        self._started = self._ready = clock()
        self.model, self._known = call.ref.name, False
        self.tokens = Tokens((), (), 0)
        self.tokenize = self.queue = 0.0

    def resolved(self, snapshot: Snapshot) -> None:
        self.model, self._known = snapshot.key.name, True

    def tokenized(self, tokens: Tokens, began: float) -> None:
        self.tokens = tokens
        self._ready = self._clock()
        self.tokenize = self._ready - began

    def leased(self) -> None:
        """Waiting for the model to load is waiting, too."""
        self.queue = self._clock() - self._ready

    def _timings(self) -> Timings:
        now = self._clock()
        total = now - self._started
        inference = max(0.0, now - self._ready - self.queue)
        return Timings(self.tokenize, self.queue, inference, total)

    def answered(self, rows: "Rows", tokens: Tokens) -> Embeddings:
        return Embeddings(rows, tokens.total, tokens.truncated, self._timings(), self.model)

    def event(self, outcome: str) -> Embedded:
        timings = self._timings()
        return Embedded(
            at=self._clock(),
            request_id=self._call.request_id,
            model=self.model,
            known=self._known,
            outcome=outcome,
            inputs=len(self._call.texts),
            tokens=self.tokens.total,
            truncated=len(self.tokens.truncated),
            tokenize_seconds=timings.tokenize,
            queue_seconds=timings.queue,
            inference_seconds=timings.inference,
            seconds=timings.total,
            caller=self._call.caller,
        )


def check_dimensions(call: EmbeddingCall, manifest: Manifest) -> None:
    """Raises Invalid for more dimensions than the model has."""
    if call.dimensions is not None and not 1 <= call.dimensions <= manifest.dimensions:
        raise Invalid(
            f"dimensions: {call.dimensions} asked for, the model has {manifest.dimensions}",
            param="dimensions",
        )


def finish(chunks: Sequence[Chunk], count: int, call: EmbeddingCall, manifest: Manifest) -> "Rows":
    """Rows in input order: finite, cut to `dimensions`, then of unit length where asked for.

    Pure; float32 `[count, dimensions]`, C-contiguous. Raises ModelError for NaN and infinity.
    """
    rows = chunks[0].rows if count == 1 else _in_order(chunks, count)
    finite = np.isfinite(rows)
    if not finite.all():
        bad = int(np.argmin(finite.all(axis=1)))
        raise ModelError(f"The model gave values that are not finite for input {bad}")
    if call.dimensions is not None:
        rows = rows[:, : call.dimensions]
    unit = manifest.normalizes if call.normalize is None else call.normalize
    return np.ascontiguousarray(normalize(rows) if unit else rows)


def _in_order(chunks: Sequence[Chunk], count: int) -> "Rows":
    rows = np.empty((count, chunks[0].rows.shape[1]), np.float32)
    for chunk in chunks:
        rows[list(chunk.indices)] = chunk.rows
    return rows


def normalize(rows: "Rows") -> "Rows":
    """Rows divided by their L2 norm, as torch.nn.functional.normalize does; zeros stay zeros."""
    wide = rows.astype(np.float64)
    norms = np.sqrt((wide * wide).sum(axis=1, keepdims=True))
    unit: Rows = (wide / np.maximum(norms, 1e-12)).astype(np.float32)
    return unit
