"""What answers requests, built in order, each part given what it needs of the others."""

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

from embedwell import report, samples
from embedwell.batching.batcher import Batcher
from embedwell.cache.model_cache import ModelCache
from embedwell.cache.naming import named
from embedwell.catalog import THREADS, build_sources, make_store
from embedwell.config.durations import seconds
from embedwell.config.schema import Config
from embedwell.embedder import RequestPath
from embedwell.events import Events
from embedwell.interfaces.caches import CacheStrategy
from embedwell.interfaces.encoders import Backend
from embedwell.interfaces.events import Embedded, Event
from embedwell.interfaces.models import ModelKey
from embedwell.interfaces.services import BaseServices
from embedwell.loader.plugins import Plugins
from embedwell.loads import BackendLoader
from embedwell.models import manifest as manifest_reader
from embedwell.models.aliases import Settled
from embedwell.models.holds import Holds
from embedwell.models.manifests import Manifests
from embedwell.models.registry import SourceRegistry
from embedwell.preload import Preloader
from embedwell.state.opened import State
from embedwell.tasks.runner import TaskRunner
from embedwell.tasks.threads import BoundedThreads
from embedwell.tidying import Tidying
from embedwell.tokenization.tokenizers import Tokenizers


class Assembly:
    """The parts are there once it is opened, on the loop; the stack closes them in reverse."""

    def __init__(
        self,
        config: Config,
        settled: Settled,
        *,
        backend: Backend,
        strategy: CacheStrategy,
        events: Events,
        clock: Callable[[], float],
        wall: Callable[[], float],
        stack: AsyncExitStack,
    ) -> None:
        self._config = config
        self._settled = settled
        self._backend = backend
        self._strategy = strategy
        self._events = events
        self._clock = clock
        self._wall = wall
        self._stack = stack
        self._folder = Path(config.server.data_dir)

    async def open(self, plugins: Plugins) -> None:
        """Raises PluginError for a source that cannot be built."""
        self._threads = BoundedThreads(THREADS)
        await self._threads.run(self._folder.mkdir, mode=0o700, parents=True, exist_ok=True)
        await self._open_state()
        await self._open_store()
        self.manifests = Manifests(self._threads, manifest_reader.read)
        self._stack.push_async_callback(self.manifests.aclose)
        self._build_registry(plugins)
        self._build_batcher()
        self._tokenizers = Tokenizers(self._threads)
        self._stack.push_async_callback(self._tokenizers.aclose)
        self._build_cache()
        self._build_embedder()
        self.preloader = Preloader(self.registry, self.cache, self.tasks, self._backend.dtype)

    def services(self, name: str) -> BaseServices:
        """What the plugin of this name is lent."""
        return BaseServices(
            folder=self._folder / name,
            store=self._store,
            tasks=self.tasks,
            threads=BoundedThreads(THREADS),  # its own: calls that never return cost it alone
            changed=self._changed,
            emit=self._events.emit,
            clock=self._clock,
        )

    async def _open_state(self) -> None:
        state = await State.open(self._folder / "state.sqlite3", self._wall)
        self._stack.push_async_callback(state.aclose)
        self.counters, self._costs = state.counters, state.costs
        self._events.add("counters", self._count)
        self.tasks = TaskRunner(self._events.emit, self._clock, self._wall, journal=state.journal)
        self._stack.push_async_callback(self.tasks.aclose)

    async def _open_store(self) -> None:
        self._holds = Holds()
        self._store = make_store(
            self._config, self._threads, self._holds, self._changed, self._wall
        )
        await self._store.open()
        self._stack.push_async_callback(self._store.aclose)

    def _build_registry(self, plugins: Plugins) -> None:
        self.sources = build_sources(plugins, self._config, self.services)
        self.registry = SourceRegistry(
            self.sources,
            self.tasks,
            self._config.sources,
            self._clock,
            aliases=self._settled.aliases,
            hold=self._holds.hold,
            listed=self.counters.seen,
            found=lambda key: self.cache.revive([key]),
        )
        self._stack.push_async_callback(self.registry.aclose)
        self._stack.push_async_callback(self.tasks.aclose)  # before the sources that they use

    def _build_batcher(self) -> None:
        self.batcher = Batcher(
            self._config.batching,
            device=self._backend.device,
            threads=self._backend.side_by_side,
            check=self._backend.check,
            horizon=self._config.server.request_timeout / 2,
            emit=self._events.emit,
            clock=self._clock,
        )
        self._stack.push_async_callback(self.batcher.aclose)
        tidying = Tidying(self._backend.forget)
        self._events.add("tidying", tidying.observe)
        self._stack.push_async_callback(tidying.aclose)

    def _build_cache(self) -> None:
        settings = self._config.cache
        self.cache = ModelCache(
            BackendLoader(
                self._backend,
                self.manifests,
                self._costs,
                engine=report.engine(),
                samples=partial(samples.tokenized, self._tokenizers),
                deadline=settings.load_timeout,
                clock=self._clock,
            ),
            self._strategy,
            self._backend.memory,
            safety=round(settings.safety_margin_gb * 1e9),
            emit=self._events.emit,
            clock=self._clock,
            wall=self._wall,
            hold=self._holds.hold,
            wish=self._wish,
            pinned=self._pinned,
            keep_alive=seconds(settings.keep_alive),
        )
        self._stack.push_async_callback(self.cache.aclose)

    def _build_embedder(self) -> None:
        self.embedder = RequestPath(
            registry=self.registry,
            manifests=self.manifests,
            tokenizers=self._tokenizers,
            batcher=self.batcher,
            cache=self.cache,
            threads=self._threads,
            dtype=self._backend.dtype,
            max_inputs=self._config.batching.max_inputs,
            emit=self._events.emit,
            clock=self._clock,
        )

    # What parts tell each other: some are made after those that call them

    def _changed(self, keys: Sequence[ModelKey]) -> None:
        """New requests ask the sources again, and what is loaded leaves after its requests."""
        self.registry.invalidate()
        self.cache.retire(keys)

    def _count(self, event: Event) -> None:
        if isinstance(event, Embedded) and event.known:
            self.counters.count(event.model)

    def _pinned(self, key: ModelKey) -> bool:
        return named(key, map(self.registry.canonical, self._settled.pinned))

    def _wish(self, tag: str) -> None:
        self.preloader.wish(tag)
