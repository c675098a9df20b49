"""Everything but HTTP: starts the parts and the plugins, and answers what HTTP asks of them."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from msgspec import structs

from embedwell import journal, report
from embedwell.assembly import Assembly
from embedwell.config.schema import Config, Server
from embedwell.events import Events
from embedwell.interfaces.encoders import Backend
from embedwell.interfaces.events import Event
from embedwell.interfaces.models import ModelRef
from embedwell.interfaces.plugins import Plugin
from embedwell.interfaces.routes import Mount, Route
from embedwell.interfaces.services import Listed, Services
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
from embedwell.loader.building import build_plugin, build_strategy
from embedwell.loader.plugins import Plugins
from embedwell.models import tag as tags
from embedwell.models.aliases import settle
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
        self._chosen = plugins.strategy(config.cache.strategy)
        self._strategy = build_strategy(self._chosen)
        self._settled = settle(config)
        self._stack = AsyncExitStack()
        self._draining = False
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
        await self._assemble()
        await self._start_plugins()
        self.routes = [
            *(route for _, source in self._parts.sources for route in source.routes()),
            *(route for _, plugin in self.plugins for route in plugin.routes()),
        ]
        self._warmup = Warmup(
            self._backend,
            self.registry,
            self._parts.manifests,
            self.batcher,
            last=self._before_ready,
        )
        self._stack.push_async_callback(self._warmup.aclose)
        if self._settled.preload:
            self._parts.preloader.start(self._settled.preload)

    async def _assemble(self) -> None:
        parts = self._parts = Assembly(
            self.config,
            self._settled,
            backend=self._backend,
            strategy=self._strategy,
            events=self._events,
            clock=self.clock,
            wall=self._wall,
            stack=self._stack,
        )
        await parts.open(self._plugins)
        self.counters, self.tasks, self.registry = parts.counters, parts.tasks, parts.registry
        self.batcher, self.cache, self.embedder = parts.batcher, parts.cache, parts.embedder

    async def _start_plugins(self) -> None:
        built: list[tuple[str, Plugin]] = []
        for item in sorted(self._plugins.plugins, key=lambda item: str(item.spec.name)):
            plugin = build_plugin(item, self._services(item.spec.name))
            self._events.add(item.spec.name, plugin.observe)
            await self._stack.enter_async_context(plugin.lifespan())
            built.append((item.spec.name, plugin))
        self.plugins = built

    def _services(self, name: str) -> Services:
        return Services(
            **structs.asdict(self._parts.services(name)),
            embedder=self.embedder,
            registry=self.registry,
            status=self.status,
            ready=self.ready,
        )

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
        gone = [structs.replace(key, revision=revision) for revision in revisions]
        busy = any(r.leases and r.snapshot.key in gone for r in self.cache.residents())
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
            refs = await self._parts.preloader.most_used(self.counters.most_used(MOST_USED))
        return await self._parts.preloader.ask(refs, most)

    def cache_status(self) -> CacheStatus:
        """The loaded models and the device's memory."""
        times = {"now": self.clock(), "wall": self._wall()}
        return report.cache_status(self.config, self._chosen, self._backend, self.cache, **times)

    async def clear(self, refs: Sequence[ModelRef] | None) -> Cleared:
        """Unload these, or all: idle ones now, leased ones when their requests end."""
        return await self.cache.clear(refs and [self.registry.canonical(ref) for ref in refs])

    async def card(self, listed: Listed) -> ModelCard:
        """A model's row in the listing."""
        return await report.card(listed, self._parts.manifests, self.cache.residents())

    def info(self) -> Info:
        """The server at a glance."""
        return report.info(
            self.config,
            self._backend,
            [name for name, _ in self._parts.sources],
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
