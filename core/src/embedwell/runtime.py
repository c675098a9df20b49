"""Everything but HTTP: builds the parts, starts them in order, unwinds them in reverse."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import anyio

from embedwell import report
from embedwell.batching.batcher import Batcher
from embedwell.cache.model_cache import ModelCache
from embedwell.config.schema import Config, Server
from embedwell.embedder import RequestPath
from embedwell.errors import EmbedwellError
from embedwell.events import Events
from embedwell.interfaces.caches import CacheStrategy, Need
from embedwell.interfaces.encoders import Backend, Encoder
from embedwell.interfaces.events import Event
from embedwell.interfaces.models import ModelRef, Snapshot, Source
from embedwell.interfaces.plugins import Plugin
from embedwell.interfaces.routes import Mount, Route
from embedwell.interfaces.services import BaseServices, Listed, Services
from embedwell.interfaces.status import Info, ModelCard, PluginInfo, Readiness
from embedwell.loader import Plugins, build
from embedwell.models import manifest as manifest_reader
from embedwell.models import tag as tags
from embedwell.models.manifests import Manifests
from embedwell.models.registry import SourceRegistry
from embedwell.tasks.runner import TaskRunner
from embedwell.tasks.threads import BoundedThreads
from embedwell.tokenization.tokenizers import Tokenizers

log = logging.getLogger("embedwell.runtime")

THREADS = 8  # for sources, tokenising and files; each device has its own
LOADS = 2  # models that load at once
PROOF_SECONDS = 2.0  # that /ready waits for the device


class Runtime:
    """The server without HTTP: `async with` starts and unwinds it; everything is on one loop.

    Building it is cheap and raises ConfigurationError or PluginError.
    """

    def __init__(
        self,
        config: Config,
        *,
        plugins: Plugins,
        backend: Backend | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.config = config
        self.clock = clock
        self._plugins = plugins
        self._wall = wall
        self._events = Events()
        self.emit: Callable[[Event], None] = self._events.emit
        self._backend = backend or _make_backend(config)
        chosen = plugins.strategy(config.cache.strategy)
        self._strategy: CacheStrategy = build(
            f"cache strategy {chosen.spec.name}",
            chosen.origin,
            partial(chosen.spec.build, chosen.config),
        )
        self._stack = AsyncExitStack()
        self._draining = False
        self.plugins: Sequence[tuple[str, Plugin]] = ()
        self.routes: Sequence[Route | Mount] = ()

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
        self.tasks = TaskRunner(self.emit, self.clock, self._wall)
        self._stack.push_async_callback(self.tasks.aclose)
        self._threads = BoundedThreads(THREADS)
        self._manifests = Manifests(self._threads, manifest_reader.read)
        self._stack.push_async_callback(self._manifests.aclose)
        sources = build_sources(self._plugins, self.config, self._base_services)
        self.registry = SourceRegistry(sources, self.tasks, self.config.sources, self.clock)
        self._stack.push_async_callback(self.registry.aclose)
        self._source_names = [name for name, _ in sources]
        self._build_path()
        await self._build_plugins()
        own = [route for _, source in sources for route in source.routes()]
        self.routes = [*own, *(route for _, plugin in self.plugins for route in plugin.routes())]
        self._warming = asyncio.get_running_loop().create_task(self._warm())
        self._stack.push_async_callback(self._stop_warming)

    def _build_path(self) -> None:
        self.batcher = Batcher(
            self.config.batching,
            device=self._backend.device,
            check=self._backend.check,
            horizon=self.config.server.request_timeout / 2,
            emit=self.emit,
            clock=self.clock,
        )
        self._stack.push_async_callback(self.batcher.aclose)
        self.cache = ModelCache(
            _BackendLoader(self._backend, self._manifests),
            self._strategy,
            self._backend.memory,
            safety=round(self.config.cache.safety_margin_gb * 1e9),
            emit=self.emit,
            clock=self.clock,
            wall=self._wall,
            wish=self._preload,
        )
        self._stack.push_async_callback(self.cache.aclose)
        tokenizers = Tokenizers(self._threads)
        self._stack.push_async_callback(tokenizers.aclose)
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
            tasks=self.tasks,
            threads=self._threads,
            emit=self.emit,
            clock=self.clock,
        )

    async def _build_plugins(self) -> None:
        built: list[tuple[str, Plugin]] = []
        for item in sorted(self._plugins.plugins, key=lambda item: str(item.spec.name)):
            base = self._base_services(item.spec.name)
            services = Services(
                folder=base.folder,
                tasks=base.tasks,
                threads=base.threads,
                emit=base.emit,
                clock=base.clock,
                embedder=self.embedder,
                registry=self.registry,
                status=self.status,
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

    async def _warm(self) -> None:
        """Import what the local models need, and prove the device, before the first /ready."""
        kinds = set()
        for listed in await self.registry.models():
            try:
                kinds.add((await self._manifests.of(listed.snapshot)).model_type)
            except EmbedwellError as error:
                log.warning("%s cannot be served: %s", listed.snapshot.key.name, error.message)
        await BoundedThreads(1).run(self._backend.warm, sorted(kinds))
        await self.batcher.prove()

    async def _stop_warming(self) -> None:
        self._warming.cancel()
        await asyncio.wait([self._warming])

    def _preload(self, tag: str) -> None:
        async def run(progress: object) -> None:
            async with (
                self.registry.open(tags.parse(tag)) as snapshot,
                self.cache.lease(snapshot, self._backend.dtype, demand=False),
            ):
                pass

        self.tasks.start("preload", tag, run)

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

    def status(self) -> Mapping[str, Any]:
        """Numbers for plugins: queued tokens, and each resident's state, leases and bytes."""
        residents = {
            r.key: {"state": r.state.value, "leases": r.leases, "bytes": r.need.weights}
            for r in self.cache.residents()
        }
        return {"queued_tokens": self.batcher.queued_tokens, "models": residents}

    async def warmed(self) -> None:
        """Returns once the first request could be served; raises what stood in its way."""
        await asyncio.shield(self._warming)

    async def ready(self) -> Readiness:
        """Asks the device for a small product unless the last attempt succeeded."""
        if self._draining:
            return Readiness(False, "the server is stopping")
        if self.batcher.fatal.done():
            return Readiness(False, self.batcher.fatal.result())
        if not self._warming.done():
            return Readiness(False, "the engine is starting")
        if self._warming.cancelled() or self._warming.exception() is not None:
            return Readiness(False, "the engine could not be started")
        return await self._proven()

    async def _proven(self) -> Readiness:
        if not self.batcher.proven:
            with anyio.move_on_after(PROOF_SECONDS) as scope:
                try:
                    await self.batcher.prove()
                except EmbedwellError as error:
                    return Readiness(False, error.message)
            if scope.cancelled_caught:
                return Readiness(False, "the device does not answer")
        return Readiness(True)

    async def fatal(self) -> str:
        """Returns, with the reason, when the process should end for its supervisor."""
        return await asyncio.shield(self.batcher.fatal)

    def drain(self) -> None:
        """Background work is cancelled; requests go on."""
        if not self._draining:
            self._draining = True
            self._stopping = asyncio.get_running_loop().create_task(self.tasks.aclose())


class _BackendLoader:
    """The cache's loads, in threads of their own: a slow one stops no batch."""

    def __init__(self, backend: Backend, manifests: Manifests) -> None:
        self._backend = backend
        self._manifests = manifests
        self._threads = BoundedThreads(LOADS)
        self._unloading = BoundedThreads(1)  # or loads that hang would keep models from leaving

    async def estimate(self, snapshot: Snapshot) -> Need:
        return self._backend.estimate(await self._manifests.of(snapshot))

    async def load(self, snapshot: Snapshot) -> Encoder:
        manifest = await self._manifests.of(snapshot)
        return await self._threads.run(self._backend.load, snapshot.path, manifest)

    async def unload(self, encoder: Encoder) -> None:
        await self._unloading.run(self._close, encoder)

    def _close(self, encoder: Encoder) -> None:
        encoder.close()
        self._backend.forget()


def _make_backend(config: Config) -> Backend:
    from embedwell.engine import backends

    engine = config.engine
    return backends.create(engine.device, engine.dtype, engine.threads)


def build_sources(
    plugins: Plugins, config: Config, services: Callable[[str], BaseServices]
) -> list[tuple[str, Source]]:
    """The sources in the order in which they are asked; raises PluginError, ConfigurationError."""
    built: list[tuple[str, Source]] = []
    for item in plugins.source_chain(config.sources.order):
        name = item.spec.name
        source: Source = build(
            f"source {name}",
            item.origin,
            partial(item.spec.build, item.config, services(name)),
        )
        built.append((name, source))
    return built


async def list_models(config: Config, plugins: Plugins) -> Sequence[ModelCard]:
    """The local models as the server would list them; needs no device and no lock."""
    events = Events()
    tasks = TaskRunner(events.emit, time.monotonic, time.time)
    threads = BoundedThreads(THREADS)

    def services(name: str) -> BaseServices:
        folder = Path(config.server.data_dir) / name
        return BaseServices(
            folder=folder, tasks=tasks, threads=threads, emit=events.emit, clock=time.monotonic
        )

    sources = build_sources(plugins, config, services)
    registry = SourceRegistry(sources, tasks, config.sources, time.monotonic)
    manifests = Manifests(threads, manifest_reader.read)
    try:
        return [await report.card(listed, manifests) for listed in await registry.models()]
    finally:
        await registry.aclose()
        await manifests.aclose()
        await tasks.aclose()
