"""From plugins that were found to the specs that their hooks return."""

import logging
from collections.abc import Iterator
from typing import Any

import pluggy

from embedwell.interfaces.caches import CacheSpec
from embedwell.interfaces.hooks import Hooks
from embedwell.interfaces.models import SourceSpec
from embedwell.interfaces.plugins import PluginSpec
from embedwell.loader.checks import (
    refuse_class,
    refuse_odd_answer,
    refuse_odd_hooks,
    refuse_odd_spec,
)
from embedwell.loader.origins import GROUP, Candidate, Origin
from embedwell.loader.plugins import Registered

log = logging.getLogger("embedwell.loader")

KINDS: dict[str, tuple[str, type[Any]]] = {
    "register_sources": ("source", SourceSpec),
    "register_caches": ("cache", CacheSpec),
    "register_plugins": ("plugin", PluginSpec),
}


class Registrar:
    """Calls the hooks of one plugin after another; one that fails leaves nothing behind."""

    def __init__(self) -> None:
        self._manager = pluggy.PluginManager(GROUP)
        self._manager.add_hookspecs(Hooks)

    def register(self, candidate: Candidate) -> list[Registered]:
        """Its specs, not configured yet; raises whatever its import and its hooks raise."""
        log.debug("importing plugin %s", candidate.origin)
        plugin = candidate.fetch()
        refuse_class(plugin)
        refuse_odd_hooks(plugin)
        self._manager.register(plugin)
        try:
            self._manager.check_pending()
            return [item for hook in KINDS for item in self._items(plugin, hook, candidate.origin)]
        except BaseException:
            self._manager.unregister(plugin)
            raise

    def _items(self, plugin: object, hook: str, origin: Origin) -> Iterator[Registered]:
        kind, wanted = KINDS[hook]
        for spec in self._specs(plugin, hook):
            if not isinstance(spec, wanted):
                raise TypeError(f"{hook} returned a {type(spec).__name__}, not a {wanted.__name__}")
            refuse_odd_spec(kind, spec)
            yield Registered(kind, spec, origin)

    def _specs(self, plugin: object, hook: str) -> Iterator[object]:
        for implementation in getattr(self._manager.hook, hook).get_hookimpls():
            if implementation.plugin is plugin:
                answer = implementation.function()
                refuse_odd_answer(hook, answer)
                yield from answer
