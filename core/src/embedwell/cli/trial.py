"""Builds once what a server is made of: what cannot be built is a reason, not the end."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import NoReturn, TypeVar

from msgspec import structs

from embedwell import exposure
from embedwell.catalog import Lender
from embedwell.config.schema import Config
from embedwell.errors import ConfigurationError, PluginError
from embedwell.interfaces.embedding import EmbeddingCall, Embeddings
from embedwell.interfaces.models import Source
from embedwell.interfaces.plugins import Plugin
from embedwell.interfaces.services import Services
from embedwell.interfaces.status import Readiness
from embedwell.loader.building import build_plugin, build_source, build_strategy
from embedwell.loader.plugins import Plugins, Registered
from embedwell.models.registry import SourceRegistry

T = TypeVar("T")


def faults(config: Config, plugins: Plugins, *, complete: bool) -> list[str]:
    """Why a server with these plugins would not start; asks nobody, loads and writes nothing.

    Whether anything guards it is said of `complete` plugins only.
    """
    return asyncio.run(_Trial(config, plugins, complete).faults())


class _NotServingError(Exception):
    """Raised where a build uses what only a server has: that one cannot be tried."""


class _Trial:
    def __init__(self, config: Config, plugins: Plugins, complete: bool) -> None:
        self._config = config
        self._plugins = plugins
        self._complete = complete
        self._reasons: list[str] = []

    async def faults(self) -> list[str]:
        self._lender = Lender(self._config)
        self._strategies()
        self._registry = SourceRegistry(
            self._sources(), self._lender.tasks, self._config.sources, self._lender.clock
        )
        try:
            self._guards()
        finally:
            await self._registry.aclose()
            await self._lender.tasks.aclose()
        return self._reasons

    def _strategies(self) -> None:
        for item in self._plugins.caches:
            if item.spec.name == self._config.cache.strategy:
                self._try(partial(build_strategy, item))

    def _sources(self) -> list[tuple[str, Source]]:
        found: list[tuple[str, Source]] = []
        for item in self._plugins.sources:
            lent = self._lender.services(item.spec.name)
            if source := self._try(partial(build_source, item, lent)):
                found.append((item.spec.name, source))
        return found

    def _guards(self) -> None:
        """Whether one that is built asks for something is known only now."""
        items = self._plugins.plugins
        tried = [(item.spec.name, self._try(partial(self._plugin, item))) for item in items]
        built = [(name, plugin) for name, plugin in tried if plugin is not None]
        if self._complete and len(built) == len(items):
            guarded = exposure.has_guard(built)
            self._try(lambda: exposure.check(self._config.server, guarded=guarded))

    def _plugin(self, item: Registered) -> Plugin:
        services = Services(
            **structs.asdict(self._lender.services(item.spec.name)),
            embedder=_NoEmbedder(),
            registry=self._registry,
            status=_not_serving,
            ready=_not_ready,
        )
        return build_plugin(item, services)

    def _try(self, make: Callable[[], T]) -> T | None:
        try:
            return make()
        except ConfigurationError as error:
            self._reasons += error.reasons
        except PluginError as error:
            if not isinstance(error.__cause__, _NotServingError):
                self._reasons.append(error.message)
        return None


class _NoEmbedder:
    async def embed(self, call: EmbeddingCall) -> Embeddings:
        raise _NotServingError


def _not_serving() -> NoReturn:
    raise _NotServingError


async def _not_ready() -> Readiness:
    return Readiness(False, "nothing is served: the configuration is checked")
