"""From specs to objects: a failure names the distribution that it came from."""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from embedwell.errors import EmbedwellError, PluginError
from embedwell.interfaces.caches import CacheStrategy
from embedwell.interfaces.models import BlockingSource, Source
from embedwell.interfaces.plugins import Plugin
from embedwell.interfaces.services import BaseServices, Services
from embedwell.loader.origins import Origin
from embedwell.loader.plugins import Registered

T = TypeVar("T")


def build_source(item: Registered, services: BaseServices) -> Source:
    """Raises PluginError."""
    what = f"source {item.spec.name}"
    source: object = build(what, item.origin, partial(item.spec.build, item.config, services))
    if not isinstance(source, Source):
        why = f"its build gave a {type(source).__name__}, not a Source"
        raise PluginError(f"{what} ({item.origin}) cannot be used: {why}")
    if missing := _missing(source):
        why = f"{type(source).__name__} must define {missing}()"
        raise PluginError(f"{what} ({item.origin}) cannot be used: {why}")
    return source


def _missing(source: Source) -> str | None:
    """The one method that must be written, where it is not: every request would fail."""
    if _is(source.resolve, Source.resolve):
        return "resolve"
    if isinstance(source, BlockingSource) and _is(source.resolve, BlockingSource.resolve):
        return "find" if _is(source.find, BlockingSource.find) else None
    return None


def _is(method: object, inherited: object) -> bool:
    return getattr(method, "__func__", None) is inherited


def build_strategy(item: Registered) -> CacheStrategy:
    """Raises PluginError."""
    make: Callable[[], CacheStrategy] = partial(item.spec.build, item.config)
    return build(f"cache strategy {item.spec.name}", item.origin, make)


def build_plugin(item: Registered, services: Services) -> Plugin:
    """Raises PluginError."""
    make: Callable[[], Plugin] = partial(item.spec.build, item.config, services)
    return build(f"plugin {item.spec.name}", item.origin, make)


def build(what: str, origin: Origin, function: Callable[[], T]) -> T:
    """What a spec's `build` returns; raises PluginError naming the distribution."""
    try:
        return function()
    except EmbedwellError as error:
        raise PluginError(f"{what} ({origin}) cannot be used: {error.message}") from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit, and panics of extension modules
        reason = f"{type(error).__name__}: {error}"
        raise PluginError(f"{what} ({origin}) failed to start: {reason}") from error
