"""The sources, built in the order of the chain; and the local models, for a server or without."""

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from embedwell import report
from embedwell.config.schema import Config
from embedwell.errors import PluginError
from embedwell.events import Events
from embedwell.interfaces.models import ModelKey, Source
from embedwell.interfaces.services import BaseServices, Threads
from embedwell.interfaces.status import ModelCard
from embedwell.loader import Plugins, build
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
    built: list[tuple[str, Source]] = []
    for item in plugins.source_chain(config.sources.order):
        name = item.spec.name
        source: object = build(
            f"source {name}",
            item.origin,
            partial(item.spec.build, item.config, services(name)),
        )
        if not isinstance(source, Source):
            what = f"its build gave a {type(source).__name__}, not a Source"
            raise PluginError(f"source {name} ({item.origin}) cannot be used: {what}")
        built.append((name, source))
    return built


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
    events = Events()
    tasks = TaskRunner(events.emit, time.monotonic, time.time)
    threads = BoundedThreads(THREADS)
    folder = Path(config.server.data_dir)
    store = make_store(config, threads, Holds(), lambda keys: None, time.time)
    await store.peek()

    def services(name: str) -> BaseServices:
        return BaseServices(
            folder=folder / name,
            store=store,
            tasks=tasks,
            threads=threads,
            changed=lambda keys: None,
            emit=events.emit,
            clock=time.monotonic,
        )

    registry = SourceRegistry(
        build_sources(plugins, config, services),
        tasks,
        config.sources,
        time.monotonic,
        aliases=settle(config).aliases,
    )
    manifests = Manifests(threads, manifest_reader.read)
    try:
        yield Local(registry, manifests, tasks, threads)
    finally:
        await registry.aclose()
        await manifests.aclose()
        await tasks.aclose()
