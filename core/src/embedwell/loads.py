"""The cache's loads: blocking work in threads of its own, what was measured remembered."""

import time
from collections.abc import Callable

from embedwell.interfaces.caches import Estimate, Need
from embedwell.interfaces.encoders import Backend, Encoder
from embedwell.interfaces.models import Snapshot
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
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._backend = backend
        self._manifests = manifests
        self._costs = costs
        self._engine = engine
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
        manifest = await self._manifests.of(snapshot)
        began = self._clock()
        encoder = await self._threads.run(self._backend.load, snapshot.path, manifest)
        need, seconds = encoder.facts.need, self._clock() - began
        cost = Cost(weights=need.weights, peak=need.peak, seconds=seconds)
        self._costs.put(self._key(snapshot), cost)
        return encoder

    async def unload(self, encoder: Encoder) -> None:
        await self._unloading.run(self._close, encoder)

    def _key(self, snapshot: Snapshot) -> CostKey:
        backend = self._backend
        return CostKey(snapshot.digest, backend.dtype, backend.device, self._engine)

    def _close(self, encoder: Encoder) -> None:
        encoder.close()
        self._backend.forget()
