"""The cache's loads: blocking work in threads of its own, what was measured remembered."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from embedwell.cache.loading import Loaded, Overdue
from embedwell.errors import Loading
from embedwell.interfaces.caches import Estimate, Need
from embedwell.interfaces.encoders import Backend, Batch, Encoder, Trial
from embedwell.interfaces.models import Manifest, Snapshot
from embedwell.models.manifests import Manifests
from embedwell.state.costs import Cost, CostKey, Costs
from embedwell.tasks.lost import GivenUp, LosingThreads
from embedwell.tasks.threads import BoundedThreads

log = logging.getLogger("embedwell.loads")

LOADS = 2  # models that load at once
PATIENCE = 30.0  # seconds after which a load is no longer one of them: it may hang
LOST = 8  # loads that were given up and have not returned; after so many none begins any more
UNLOADS = 4  # that may be under way; once so many hang for good, every later one is a leak too
DOUBT = 2  # times the files' weights that measured ones are believed: only a load corrects them


class BackendLoader:
    """Implements `cache.loading.Loader`; a slow load stops no batch."""

    def __init__(
        self,
        backend: Backend,
        manifests: Manifests,
        costs: Costs,
        *,
        engine: str,
        samples: Callable[[Snapshot, Manifest], Awaitable[Batch]],
        deadline: float = 600,
        patience: float = PATIENCE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`samples` are texts as the model's own tokeniser gives them.

        A load that takes more than `deadline` seconds is given up; after `patience` seconds
        others load beside it.
        `clock` is asked in threads, too.
        """
        self._backend = backend
        self._manifests = manifests
        self._costs = costs
        self._engine = engine
        self._samples = samples
        self._clock = clock
        self._deadline = deadline
        self._threads = LosingThreads(LOADS, deadline, patience=patience, most=LOST)
        # Its own, or loads that hang would keep models from leaving.
        self._unloading = BoundedThreads(UNLOADS)

    async def estimate(self, snapshot: Snapshot) -> Estimate:
        """Weights and seconds as an earlier load of the same content took them, else by the files.

        Weights far beyond what the files say could refuse the model for ever. The peak is the
        backend's word each time: it depends on how many batches run side by side now.
        """
        said = self._backend.estimate(await self._manifests.of(snapshot))
        known = self._costs.get(self._key(snapshot))
        if known is None:
            return Estimate(said)
        weights = min(known.weights, DOUBT * said.weights)
        return Estimate(Need(weights, said.peak), known.seconds)

    async def load(self, snapshot: Snapshot) -> Loaded:
        """What the checks at a load find is remembered, and not looked for again."""
        manifest = await self._manifests.of(snapshot)
        trial = await self._trial(snapshot, manifest)
        if self._threads.lost >= LOST:
            raise Loading(f"Model loading failed: {LOST} earlier loads never ended")
        try:
            loaded = await self._threads.run(self._load, snapshot.path, manifest, trial)
        except GivenUp as late:
            raise Overdue(self._deadline, self._ending(late.call, snapshot.key.name)) from None
        need, verdict = loaded.encoder.facts.need, loaded.encoder.facts.verdict
        cost = Cost(need.weights, loaded.seconds, verdict)
        self._costs.put(self._key(snapshot), cost)
        return loaded

    def _load(self, path: Path, manifest: Manifest, trial: Trial) -> Loaded:
        """In a thread: the wait for one is no part of a load."""
        began = self._clock()
        encoder = self._backend.load(path, manifest, trial)
        return Loaded(encoder, self._clock() - began)

    async def _trial(self, snapshot: Snapshot, manifest: Manifest) -> Trial:
        known = self._costs.get(self._key(snapshot))
        if known is not None and known.verdict is not None:
            return Trial(known=known.verdict)
        return Trial(samples=await self._samples(snapshot, manifest))

    def _ending(self, load: "asyncio.Future[Loaded]", model: str) -> "asyncio.Future[None]":
        """Done once the load has returned after all, and what it brought is closed."""
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def over(call: "asyncio.Future[Any]") -> None:
            if not call.cancelled() and (error := call.exception()):
                log.error("loading %s, given up before, ended in an error", model, exc_info=error)
            ended.set_result(None)

        def returned(load: "asyncio.Future[Loaded]") -> None:
            if load.cancelled() or load.exception() is not None:
                over(load)
            else:
                closing = self._unloading.begin(self._close, load.result().encoder)
                closing.add_done_callback(over)

        load.add_done_callback(returned)
        return ended

    async def unload(self, encoder: Encoder) -> None:
        await self._unloading.run(self._close, encoder)

    def _key(self, snapshot: Snapshot) -> CostKey:
        backend = self._backend
        return CostKey(snapshot.digest, backend.dtype, backend.device, self._engine)

    def _close(self, encoder: Encoder) -> None:
        encoder.close()
        self._backend.forget()
