"""The cache's loads: blocking work in threads of its own, what was measured remembered."""

import time
from collections.abc import Awaitable, Callable

from embedwell.interfaces.caches import Estimate, Need
from embedwell.interfaces.encoders import Backend, Batch, Encoder, Trial
from embedwell.interfaces.models import Manifest, Snapshot
from embedwell.models.manifests import Manifests
from embedwell.state.costs import Cost, CostKey, Costs
from embedwell.tasks.threads import BoundedThreads

LOADS = 2  # models that load at once
UNLOADS = 4  # that may be under way; once so many hang for good, every later one is a leak too
DOUBT = 2  # times what the files say that a measurement is believed: only a load corrects it


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
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`samples` are texts as the model's own tokeniser gives them."""
        self._backend = backend
        self._manifests = manifests
        self._costs = costs
        self._engine = engine
        self._samples = samples
        self._clock = clock
        self._threads = BoundedThreads(LOADS)
        # Its own, or loads that hang would keep models from leaving.
        self._unloading = BoundedThreads(UNLOADS)

    async def estimate(self, snapshot: Snapshot) -> Estimate:
        """What an earlier load of the same content measured here, else from the files.

        A measurement far beyond what the files say could refuse the model for ever.
        """
        said = self._backend.estimate(await self._manifests.of(snapshot))
        known = self._costs.get(self._key(snapshot))
        if known is None:
            return Estimate(said)
        most = Need(DOUBT * said.weights, DOUBT * said.peak)
        believed = known.weights + known.peak <= most.weights + most.peak
        return Estimate(Need(known.weights, known.peak) if believed else most, known.seconds)

    async def load(self, snapshot: Snapshot) -> Encoder:
        """What the checks at a load find is remembered, and not looked for again."""
        manifest = await self._manifests.of(snapshot)
        trial = await self._trial(snapshot, manifest)
        began = self._clock()
        encoder = await self._threads.run(self._backend.load, snapshot.path, manifest, trial)
        need, seconds = encoder.facts.need, self._clock() - began
        cost = Cost(need.weights, need.peak, seconds, encoder.facts.verdict)
        self._costs.put(self._key(snapshot), cost)
        return encoder

    async def _trial(self, snapshot: Snapshot, manifest: Manifest) -> Trial:
        known = self._costs.get(self._key(snapshot))
        if known is not None and known.verdict is not None:
            return Trial(known=known.verdict)
        return Trial(samples=await self._samples(snapshot, manifest))

    async def unload(self, encoder: Encoder) -> None:
        await self._unloading.run(self._close, encoder)

    def _key(self, snapshot: Snapshot) -> CostKey:
        backend = self._backend
        return CostKey(snapshot.digest, backend.dtype, backend.device, self._engine)

    def _close(self, encoder: Encoder) -> None:
        encoder.close()
        self._backend.forget()
