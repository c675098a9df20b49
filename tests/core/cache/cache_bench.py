"""A model cache with a loader that is told what to do."""

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack, nullcontext
from pathlib import Path
from typing import Self

from embedwell.cache.loading import Loaded
from embedwell.cache.model_cache import ModelCache
from embedwell.cache.owner import Hold
from embedwell.cache.resident import Lease, Resident
from embedwell.interfaces.caches import CacheStrategy, Estimate, Need
from embedwell.interfaces.encoders import Encoder
from embedwell.interfaces.events import Event, ModelEvicted
from embedwell.interfaces.models import ModelKey, Snapshot
from embedwell.interfaces.status import Cleared
from embedwell.testing import FakeClock, FakeEncoder, FakeMemory
from embedwell_cache_fixed.strategy import Config, FixedSize
from tests.core.cache.fake_time import clock_of_loop

DTYPE = "float32"


def model_key(name: str, revision: str = "1") -> ModelKey:
    return ModelKey("test", name, revision)


def snapshot(name: str, revision: str = "1", folder: str = "/nowhere") -> Snapshot:
    return Snapshot(Path(folder) / name, model_key(name, revision), name)


class Panic(BaseException):
    """What extension modules raise past `except Exception`."""


class Loader:
    """Loads at once, or when `gate` opens; sizes, seconds and failures by name."""

    def __init__(self, memory: FakeMemory, clock: FakeClock) -> None:
        self.memory = memory
        self.clock = clock
        self.needs: dict[str, Need] = {}
        self.measured: dict[str, Need] = {}
        self.known_seconds: dict[str, float] = {}
        self.seconds: dict[str, float] = {}
        self.failures: dict[str, list[BaseException]] = {}
        self.gate = asyncio.Event()
        self.gate.set()
        self.unload_gate = asyncio.Event()
        self.unload_gate.set()
        self.loads: list[str] = []
        self.loading: Counter[ModelKey] = Counter()
        self.unloads = 0
        self.before_load: Callable[[Snapshot], None] = lambda snapshot: None
        self.before_unload: Callable[[Encoder], None] = lambda encoder: None

    async def estimate(self, snapshot: Snapshot) -> Estimate:
        name = snapshot.key.name
        return Estimate(self.needs.get(name, Need(10, 2)), self.known_seconds.get(name, 0.0))

    async def load(self, snapshot: Snapshot) -> Loaded:
        name, began = snapshot.key.name, self.clock()
        self.before_load(snapshot)
        self.loads.append(name)
        self.loading[snapshot.key] += 1
        assert self.loading[snapshot.key] == 1, "one load of a model at a time"
        try:
            await self.gate.wait()
            if name in self.seconds:
                await asyncio.sleep(self.seconds[name])
        finally:
            self.loading[snapshot.key] -= 1
        if self.failures.get(name):
            raise self.failures[name].pop(0)
        need = self.measured.get(name) or (await self.estimate(snapshot)).need
        self.memory.taken += need.weights
        return Loaded(FakeEncoder(need=need), self.clock() - began)

    async def unload(self, encoder: Encoder) -> None:
        self.before_unload(encoder)
        await self.unload_gate.wait()
        await asyncio.sleep(0)
        encoder.close()
        self.unloads += 1
        self.memory.taken -= encoder.facts.need.weights


class Bench:
    """`async with` closes the cache; what is entered in `held` is left before."""

    def __init__(
        self,
        max_models: int = 2,
        total: int = 100,
        strategy: CacheStrategy | None = None,
        *,
        pinned: str = "",
        keep_alive: float | None = None,
        hold: Hold = lambda snapshot: nullcontext(),
    ) -> None:
        self.memory = FakeMemory(total)
        self.clock = clock_of_loop()
        self.loader = Loader(self.memory, self.clock)
        self.events: list[Event] = []
        self.wishes: list[str] = []
        self.clears: list[asyncio.Task[Cleared]] = []
        self.pinned = set(pinned)
        self.held = AsyncExitStack()
        self.cache = ModelCache(
            self.loader,
            strategy or FixedSize(Config(max_models=max_models)),
            self.memory,
            safety=0,
            emit=self.events.append,
            clock=self.clock,
            wall=self.clock,
            hold=hold,
            wish=self.wishes.append,
            pinned=lambda key: key.name in self.pinned,
            keep_alive=keep_alive,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.held.aclose()
        await self.cache.aclose()

    async def use(self, name: str, *, seconds: float = 0.0) -> None:
        self.clock.now += 1
        async with self.cache.lease(snapshot(name), DTYPE):
            if seconds:
                await asyncio.sleep(seconds)

    async def preload(self, name: str) -> None:
        async with self.cache.lease(snapshot(name), DTYPE, demand=False):
            pass

    async def hold(self, name: str) -> Lease:
        """A lease until `held` is closed."""
        return await self.held.enter_async_context(self.cache.lease(snapshot(name), DTYPE))

    def states(self) -> dict[str, str]:
        return {r.tag: r.state.value for r in self.cache.residents()}

    def resident(self, name: str) -> Resident:
        (found,) = [r for r in self.cache.residents() if r.tag == name]
        return found

    def evicted(self) -> list[str]:
        return [e.model for e in self.events if isinstance(e, ModelEvicted)]


async def settled() -> None:
    """Until all that can happen now has happened."""
    for _ in range(50):
        await asyncio.sleep(0)
