"""The sources, built in the order of the chain; and the local models, for a server or without."""

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from embedwell import report
from embedwell.config.schema import Config
from embedwell.events import Events
from embedwell.interfaces.models import ModelKey, Source
from embedwell.interfaces.services import BaseServices, Threads
from embedwell.interfaces.status import ModelCard
from embedwell.loader.building import build_source
from embedwell.loader.plugins import Plugins
from embedwell.models import manifest as manifest_reader
from embedwell.models.aliases import settle
from embedwell.models.archive import unpack
from embedwell.models.checking import Checker
from embedwell.models.holds import Holds
from embedwell.models.manifests import Manifests
from embedwell.models.registry import SourceRegistry
from embedwell.models.store import ModelStore
from embedwell.tasks.runner import TaskRunner
from embedwell.tasks.threads import BoundedThreads

THREADS = 8  # for tokenising and files, and for each source; each device has its own


def build_sources(
    plugins: Plugins, config: Config, services: Callable[[str], BaseServices]
) -> list[tuple[str, Source]]:
    """The sources in the order in which they are asked; raises PluginError, ConfigurationError."""
    chain = plugins.source_chain(config.sources.order)
    return [(item.spec.name, build_source(item, services(item.spec.name))) for item in chain]


def make_store(
    config: Config,
    threads: Threads,
    holds: Holds,
    changed: Callable[[Sequence[ModelKey]], None],
    wall: Callable[[], float],
) -> ModelStore:
    """The store below the data directory, not opened yet."""
    return ModelStore(
        Path(config.server.data_dir),
        settings=config.store,
        threads=threads,
        changed=changed,
        holds=holds,
        check=Checker(threads).check,
        unpack=unpack,
        wall=wall,
        aliases=config.aliases,
    )


class Lender:
    """What plugins are lent, without a server: nothing is opened, and no lock taken; loop only."""

    def __init__(self, config: Config) -> None:
        self._folder = Path(config.server.data_dir)
        self._emit = Events().emit
        self.clock = time.monotonic
        self.tasks = TaskRunner(self._emit, self.clock, time.time)
        self.threads = BoundedThreads(THREADS)
        self.store = make_store(config, self.threads, Holds(), lambda keys: None, time.time)

    def services(self, name: str) -> BaseServices:
        """Those of the plugin of this name."""
        return BaseServices(
            folder=self._folder / name,
            store=self.store,
            tasks=self.tasks,
            threads=self.threads,
            changed=lambda keys: None,
            emit=self._emit,
            clock=self.clock,
        )


class Local(NamedTuple):
    """What finds models beside a server that may be running: it takes no lock."""

    registry: SourceRegistry
    manifests: Manifests
    tasks: TaskRunner
    threads: BoundedThreads


async def list_models(config: Config, plugins: Plugins) -> Sequence[ModelCard]:
    """The local models as the server would list them; needs no device and no lock."""
    async with local(config, plugins) as here:
        listed = await here.registry.models()
        return [await report.card(model, here.manifests) for model in listed]


@asynccontextmanager
async def local(config: Config, plugins: Plugins) -> AsyncIterator[Local]:
    """The sources as the server would ask them; raises ConfigurationError, PluginError."""
    lender = Lender(config)
    await lender.store.peek()
    registry = SourceRegistry(
        build_sources(plugins, config, lender.services),
        lender.tasks,
        config.sources,
        lender.clock,
        aliases=settle(config).aliases,
    )
    manifests = Manifests(lender.threads, manifest_reader.read)
    try:
        yield Local(registry, manifests, lender.tasks, lender.threads)
    finally:
        await registry.aclose()
        await manifests.aclose()
        await lender.tasks.aclose()
