"""Everything but HTTP: builds the parts, starts them in order, unwinds them in reverse."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from msgspec import structs

from embedwell import journal, report, samples
from embedwell.batching.batcher import Batcher
from embedwell.cache.model_cache import ModelCache
from embedwell.cache.naming import named
from embedwell.catalog import THREADS, build_sources, make_store
from embedwell.config.durations import seconds
from embedwell.config.schema import Config, Server
from embedwell.embedder import RequestPath
from embedwell.events import Events
from embedwell.interfaces.caches import CacheStrategy
from embedwell.interfaces.encoders import Backend
from embedwell.interfaces.events import Embedded, Event
from embedwell.interfaces.models import ModelKey, ModelRef
from embedwell.interfaces.plugins import Plugin
from embedwell.interfaces.routes import Mount, Route
from embedwell.interfaces.services import BaseServices, Listed, Services
from embedwell.interfaces.status import (
    CacheStatus,
    Cleared,
    Deleted,
    Info,
    ModelCard,
    PluginInfo,
    Readiness,
    Status,
    Warming,
)
from embedwell.interfaces.tasks import Task
from embedwell.loader import Plugins, build
from embedwell.loads import BackendLoader
from embedwell.models import manifest as manifest_reader
from embedwell.models import tag as tags
from embedwell.models.aliases import settle
from embedwell.models.holds import Holds
from embedwell.models.manifests import Manifests
from embedwell.models.registry import SourceRegistry
from embedwell.preload import Preloader
from embedwell.state.opened import State
from embedwell.tasks.runner import TaskRunner
from embedwell.tasks.threads import BoundedThreads
from embedwell.tokenization.tokenizers import Tokenizers
from embedwell.warmup import Warmup

MOST_USED = 100  # models that a preload without names tries


class Runtime:
    """The server without HTTP: `async with` starts and unwinds it; everything is on one loop.

    Building it is cheap and raises ConfigurationError or PluginError. `before_ready` is called
    once, when all else that precedes the first request is done.
    """

    def __init__(
        self,
        config: Config,
        *,
        plugins: Plugins,
        backend: Backend | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        before_ready: Callable[[], None] = lambda: None,
    ) -> None:
        self.config = config
        self.clock = clock
        self._plugins = plugins
        self._wall = wall
        self._before_ready = before_ready
        self._events = Events()
        self._events.add("journal", journal.write)
        self.emit: Callable[[Event], None] = self._events.emit
        self._backend = backend or _make_backend(config)
        chosen = self._chosen = plugins.strategy(config.cache.strategy)
        self._strategy: CacheStrategy = build(
            f"cache strategy {chosen.spec.name}",
            chosen.origin,
            partial(chosen.spec.build, chosen.config),
        )
        self._stack = AsyncExitStack()
        self._draining = False
        self._settled = settle(config)
        self.plugins: Sequence[tuple[str, Plugin]] = ()
        self.routes: Sequence[Route | Mount] = ()
        self.in_flight: Callable[[], int] = lambda: 0

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    async def _start(self) -> None:
        self._threads = BoundedThreads(THREADS)
        await self._threads.run(self.data_dir.mkdir, mode=0o700, parents=True, exist_ok=True)
        await self._open_state()
        await self._open_store()
        self._manifests = Manifests(self._threads, manifest_reader.read)
        self._stack.push_async_callback(self._manifests.aclose)
        sources = build_sources(self._plugins, self.config, self._base_services)
        self.registry = SourceRegistry(
            sources,
            self.tasks,
            self.config.sources,
            self.clock,
            aliases=self._settled.aliases,
            hold=self._holds.hold,
            listed=self.counters.seen,
            found=lambda key: self.cache.revive([key]),
        )
        self._stack.push_async_callback(self.registry.aclose)
        self._stack.push_async_callback(self.tasks.aclose)  # before the sources that they use
        self._source_names = [name for name, _ in sources]
        self._build_path()
        self.preloader = Preloader(self.registry, self.cache, self.tasks, self._backend.dtype)
        await self._build_plugins()
        own = [route for _, source in sources for route in source.routes()]
        self.routes = [*own, *(route for _, plugin in self.plugins for route in plugin.routes())]
        self._warmup = Warmup(
            self._backend,
            self.registry,
            self._manifests,
            self.batcher,
            last=self._before_ready,
        )
        self._stack.push_async_callback(self._warmup.aclose)
        if self._settled.preload:
            self.preloader.start(self._settled.preload)

    async def _open_state(self) -> None:
        state = await State.open(self.data_dir / "state.sqlite3", self._wall)
        self._stack.push_async_callback(state.aclose)
        self.counters, self._costs = state.counters, state.costs
        self._events.add("counters", self._count)
        self.tasks = TaskRunner(self.emit, self.clock, self._wall, journal=state.journal)
        self._stack.push_async_callback(self.tasks.aclose)

    async def _open_store(self) -> None:
        self._holds = Holds()
        self._store = make_store(self.config, self._threads, self._holds, self._changed, self._wall)
        await self._store.open()
        self._stack.push_async_callback(self._store.aclose)

    def _build_path(self) -> None:
        self.batcher = Batcher(
            self.config.batching,
            device=self._backend.device,
            threads=self._backend.side_by_side,
            check=self._backend.check,
            horizon=self.config.server.request_timeout / 2,
            emit=self.emit,
            clock=self.clock,
        )
        self._stack.push_async_callback(self.batcher.aclose)
        tokenizers = Tokenizers(self._threads)
        self._stack.push_async_callback(tokenizers.aclose)
        self.cache = ModelCache(
            BackendLoader(
                self._backend,
                self._manifests,
                self._costs,
                engine=report.engine(),
                samples=partial(samples.tokenized, tokenizers),
                deadline=self.config.cache.load_timeout,
                clock=self.clock,
            ),
            self._strategy,
            self._backend.memory,
            safety=round(self.config.cache.safety_margin_gb * 1e9),
            emit=self.emit,
            clock=self.clock,
            wall=self._wall,
            wish=self._wish,
            pinned=self._pinned,
            keep_alive=seconds(self.config.cache.keep_alive),
        )
        self._stack.push_async_callback(self.cache.aclose)
        self.embedder = RequestPath(
            registry=self.registry,
            manifests=self._manifests,
            tokenizers=tokenizers,
            batcher=self.batcher,
            cache=self.cache,
            threads=self._threads,
            dtype=self._backend.dtype,
            max_inputs=self.config.batching.max_inputs,
            emit=self.emit,
            clock=self.clock,
        )

    def _base_services(self, name: str) -> BaseServices:
        return BaseServices(
            folder=self.data_dir / name,
            store=self._store,
            tasks=self.tasks,
            threads=BoundedThreads(THREADS),  # its own: calls that never return cost it alone
            changed=self._changed,
            emit=self.emit,
            clock=self.clock,
        )

    def _changed(self, keys: Sequence[ModelKey]) -> None:
        """New requests ask the sources again, and what is loaded leaves after its requests."""
        self.registry.invalidate()
        self.cache.retire(keys)

    def _count(self, event: Event) -> None:
        if isinstance(event, Embedded) and event.known:
            self.counters.count(event.model)

    async def _build_plugins(self) -> None:
        built: list[tuple[str, Plugin]] = []
        for item in sorted(self._plugins.plugins, key=lambda item: str(item.spec.name)):
            base = self._base_services(item.spec.name)
            services = Services(
                **structs.asdict(base),
                embedder=self.embedder,
                registry=self.registry,
                status=self.status,
                ready=self.ready,
            )
            plugin: Plugin = build(
                f"plugin {item.spec.name}",
                item.origin,
                partial(item.spec.build, item.config, services),
            )
            self._events.add(item.spec.name, plugin.observe)
            await self._stack.enter_async_context(plugin.lifespan())
            built.append((item.spec.name, plugin))
        self.plugins = built

    def _pinned(self, key: ModelKey) -> bool:
        return named(key, map(self.registry.canonical, self._settled.pinned))

    def _wish(self, tag: str) -> None:
        self.preloader.wish(tag)  # which is made after the cache

    def observe(self, name: str, observer: Callable[[Event], None]) -> None:
        """Call it for every event from now on, on the loop."""
        self._events.add(name, observer)

    # What HTTP and the command line ask

    @property
    def server(self) -> Server:
        return self.config.server

    @property
    def max_inputs(self) -> int:
        return self.config.batching.max_inputs

    @property
    def data_dir(self) -> Path:
        return Path(self.config.server.data_dir)

    @property
    def device(self) -> str:
        return self._backend.device

    def parse_tag(self, text: str) -> ModelRef:
        """Raises Invalid."""
        return tags.parse(text)

    def canonical(self, ref: ModelRef) -> str:
        """The name that a tag is counted under."""
        return self.registry.canonical(ref).name

    async def delete(self, ref: ModelRef) -> Deleted:
        """Raises ModelNotFound, ReadOnly, SourceError."""
        key, revisions = await self.registry.delete(ref)
        busy = any(r.snapshot.key == key and r.leases for r in self.cache.residents())
        return Deleted(
            model=key.name,
            revision=key.revision,
            revisions=revisions,
            source=key.source,
            state="draining" if busy else "deleted",
        )

    async def preload(
        self, refs: Sequence[ModelRef] | None, most: int | None
    ) -> tuple[Task, Sequence[Warming]]:
        """Starts it; `refs` None takes the most used models that are at hand."""
        if refs is None:
            refs = await self.preloader.most_used(self.counters.most_used(MOST_USED))
        return await self.preloader.ask(refs, most)

    def cache_status(self) -> CacheStatus:
        """The loaded models and the device's memory."""
        times = {"now": self.clock(), "wall": self._wall()}
        return report.cache_status(self.config, self._chosen, self._backend, self.cache, **times)

    async def clear(self, refs: Sequence[ModelRef] | None) -> Cleared:
        """Unload these, or all: idle ones now, leased ones when their requests end."""
        return await self.cache.clear(refs and [self.registry.canonical(ref) for ref in refs])

    async def card(self, listed: Listed) -> ModelCard:
        """A model's row in the listing."""
        return await report.card(listed, self._manifests, self.cache.residents())

    def info(self) -> Info:
        """The server at a glance."""
        return report.info(
            self.config,
            self._backend,
            self._source_names,
            self.cache.residents(),
            self.batcher.queued_tokens,
        )

    def plugin_infos(self) -> Sequence[PluginInfo]:
        """Every installed plugin, failed ones too."""
        return self._plugins.infos

    def status(self) -> Status:
        """For plugins: everything at a glance."""
        return Status(
            info=self.info(),
            cache=self.cache_status(),
            queue=self.batcher.queue(),
            requests=self.in_flight(),
        )

    async def warmed(self) -> None:
        """Returns once the first request could be served; raises what stood in its way."""
        await self._warmup.done()

    async def ready(self) -> Readiness:
        """Whether a request would be served now, and if not why."""
        if self._draining:
            return Readiness(False, "the server is stopping")
        return await self._warmup.ready()

    async def fatal(self) -> str:
        """Returns, with the reason, when the process should end for its supervisor."""
        return await asyncio.shield(self.batcher.fatal)

    def drain(self) -> None:
        """Background work is cancelled; requests go on."""
        if not self._draining:
            self._draining = True
            self._stopping = asyncio.get_running_loop().create_task(self.tasks.aclose())


def _make_backend(config: Config) -> Backend:
    from embedwell.engine import backends

    engine = config.engine
    return backends.create(engine.device, engine.dtype, engine.threads)
