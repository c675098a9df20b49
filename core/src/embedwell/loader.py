"""Finds plugins, checks them, and reads their configuration; the runtime builds the objects."""

import inspect
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from difflib import get_close_matches
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

import pluggy
from msgspec import Struct, structs

from embedwell.config.schema import Cache, Config, Sources, Table
from embedwell.config.tables import convert_table
from embedwell.errors import ConfigurationError, EmbedwellError, PluginError
from embedwell.interfaces.caches import CacheSpec
from embedwell.interfaces.hooks import Hooks
from embedwell.interfaces.models import SourceSpec
from embedwell.interfaces.plugins import PluginSpec
from embedwell.interfaces.status import PluginInfo

log = logging.getLogger("embedwell.loader")

GROUP = "embedwell"
T = TypeVar("T")
KINDS: dict[str, tuple[str, type[Any]]] = {
    "register_sources": ("source", SourceSpec),
    "register_caches": ("cache", CacheSpec),
    "register_plugins": ("plugin", PluginSpec),
}
DISTRIBUTIONS = {
    **{
        ("source", name): f"embedwell-source-{name}"
        for name in ("upload", "training", "github", "package", "huggingface")
    },
    ("cache", "fixed_size"): "embedwell-cache-fixed",
    ("cache", "vram_aware"): "embedwell-cache-vram",
    ("plugin", "auth"): "embedwell-plugin-auth",
    ("plugin", "metrics"): "embedwell-plugin-metrics",
}
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
TAKEN = {  # a table of that name would be read as the section's own key
    "source": {field.name for field in structs.fields(Sources)},
    "cache": {field.name for field in structs.fields(Cache)},
    "plugin": set[str](),
}


class Origin(Struct, frozen=True):
    """Where a plugin came from; `name` is its entry point's."""

    name: str
    distribution: str
    version: str

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}"


class Registered(Struct, frozen=True):
    """A spec, its parsed configuration, and who brought it."""

    kind: str
    spec: Any
    origin: Origin
    config: Any = None


class Plugins(Struct, frozen=True):
    """Everything that is installed and usable; `infos` has what is not, too."""

    sources: Sequence[Registered]
    caches: Sequence[Registered]
    plugins: Sequence[Registered]
    infos: Sequence[PluginInfo]

    def source_chain(self, order: Sequence[str]) -> Sequence[Registered]:
        """Those in `order` first, then by falling priority; raises ConfigurationError."""
        names = [item.spec.name for item in self.sources]
        missing = [
            f'sources.order: "{name}" is not installed; '
            f"{_remedy('source', name, self.infos)}{_failures(self.infos)}"
            for name in order
            if name not in names
        ]
        if missing:
            raise ConfigurationError(missing)

        def place(item: Registered) -> tuple[int, int, str]:
            name = item.spec.name
            listed = order.index(name) if name in order else len(order)
            return listed, -item.spec.priority, name

        return sorted(self.sources, key=place)

    def strategy(self, name: str) -> Registered:
        """Raises ConfigurationError."""
        for item in self.caches:
            if item.spec.name == name:
                return item
        remedy = _remedy("cache", name, self.infos) + _failures(self.infos)
        raise ConfigurationError([f'cache.strategy: "{name}" is not installed; {remedy}'])


def load(config: Config, *, modules: Sequence[object] = ()) -> Plugins:
    """Installed plugins, and `modules` as if they were.

    Raises PluginError for one that the configuration names and that fails, or two of one name;
    ConfigurationError with every fault of the plugins' tables.
    """
    plugins, reasons = survey(config, modules=modules)
    if reasons:
        raise ConfigurationError(reasons)
    return plugins


def survey(config: Config, *, modules: Sequence[object] = ()) -> tuple[Plugins, Sequence[str]]:
    """As `load`, but returns the reasons; plugins whose tables are at fault are left out."""
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(Hooks)
    found: list[Registered] = []
    infos: list[PluginInfo] = []
    for origin, fetch in (*_installed(), *_given(modules)):
        try:
            items = _register(manager, origin, fetch)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit, and panics of extension modules
            infos.append(_failed(origin, error, config))
        else:
            found += items
            infos.append(_info(origin, items, config))
    _refuse_twins(found)
    return _configured(found, infos, config)


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


def _installed() -> Iterator[tuple[Origin, Callable[[], object]]]:
    seen: dict[str, EntryPoint] = {}
    for point in sorted(entry_points(group=GROUP), key=lambda p: (p.name, str(_origin(p)))):
        twin = seen.setdefault(point.name, point)
        if twin is point:
            yield _origin(point), point.load
        elif _origin(twin) != _origin(point):  # the same one may lie on the path twice
            both = f"{_origin(twin)} and {_origin(point)}"
            raise PluginError(f'two plugins are named "{point.name}": {both}; uninstall one')


def _given(modules: Sequence[object]) -> Iterator[tuple[Origin, Callable[[], object]]]:
    for module in modules:
        name = getattr(module, "__name__", type(module).__name__)
        yield Origin(name, name, "given"), partial(_same, module)


def _same(module: object) -> object:
    return module


def _origin(point: EntryPoint) -> Origin:
    dist = point.dist
    return Origin(point.name, dist.name if dist else "unknown", dist.version if dist else "?")


def _register(
    manager: "pluggy.PluginManager", origin: Origin, fetch: Callable[[], object]
) -> list[Registered]:
    log.debug("importing plugin %s", origin)
    plugin = fetch()
    if inspect.isclass(plugin):
        raise TypeError("it is a class: let the entry point name a module or an instance")
    _refuse_odd_hooks(plugin)
    manager.register(plugin)
    try:
        manager.check_pending()
        return [item for hook in KINDS for item in _specs(manager, plugin, hook, origin)]
    except BaseException:
        manager.unregister(plugin)
        raise


def _refuse_odd_hooks(plugin: object) -> None:
    for name in dir(plugin):
        function = getattr(plugin, name, None)
        options = getattr(function, "embedwell_impl", None)
        if not isinstance(options, dict):
            continue
        if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(
                f"{name} is async: hooks are plain functions; await in the object built"
            )
        if options.get("wrapper") or options.get("hookwrapper"):
            raise TypeError(f"{name} is a wrapper: register a spec of your own instead")


def _specs(
    manager: "pluggy.PluginManager", plugin: object, hook: str, origin: Origin
) -> Iterator[Registered]:
    kind, wanted = KINDS[hook]
    for implementation in getattr(manager.hook, hook).get_hookimpls():
        if implementation.plugin is not plugin:
            continue
        answer = implementation.function()
        if not isinstance(answer, list | tuple) and not inspect.isgenerator(answer):
            raise TypeError(f"{hook} returned {type(answer).__name__}: return a list of specs")
        for spec in answer:
            if not isinstance(spec, wanted):
                raise TypeError(f"{hook} returned a {type(spec).__name__}, not a {wanted.__name__}")
            _refuse_odd_spec(kind, spec)
            yield Registered(kind, spec, origin)


def _refuse_odd_spec(kind: str, spec: Any) -> None:
    if not isinstance(spec.name, str) or not NAME.fullmatch(spec.name):
        raise TypeError(f"{spec.name!r} cannot be a name: use letters, digits, - and _")
    if spec.name in TAKEN[kind]:
        raise ValueError(f'a {kind} cannot be named "{spec.name}": that is a setting already')
    if not inspect.isclass(spec.config) or not issubclass(spec.config, Struct):
        raise TypeError(f"{spec.name}: config must be a Struct class")
    if not spec.config.__struct_config__.forbid_unknown_fields:
        raise TypeError(f"{spec.name}: its config must be declared forbid_unknown_fields=True")
    if not callable(spec.build):
        raise TypeError(f"{spec.name}: build must be callable")
    if kind == "source" and not isinstance(spec.priority, int):
        raise TypeError(f"{spec.name}: priority must be an integer")


def _failed(origin: Origin, error: BaseException, config: Config) -> PluginInfo:
    reason = f"{type(error).__name__}: {error}"
    named = {*config.cache.tables, *config.sources.tables, *config.plugins}
    named |= {config.cache.strategy, *config.sources.order}
    if origin.name in named:
        raise PluginError(
            f"plugin {origin.name} ({origin}) cannot be used: {reason}; "
            f"mend it (pip install -U {origin.distribution}) or take it out of the configuration"
        ) from error
    log.warning("plugin %s (%s) is skipped: %s", origin.name, origin, reason)
    return PluginInfo(
        name=origin.name,
        distribution=origin.distribution,
        version=origin.version,
        state="failed",
        problem=reason[:500],
    )


def _info(origin: Origin, items: Sequence[Registered], config: Config) -> PluginInfo:
    used = any(i.kind != "cache" or i.spec.name == config.cache.strategy for i in items)
    return PluginInfo(
        name=origin.name,
        distribution=origin.distribution,
        version=origin.version,
        state="active" if used else "unused",
        provides=[f"{item.kind} {item.spec.name}" for item in items],
        summary="; ".join(item.spec.summary for item in items),
    )


def _refuse_twins(found: Sequence[Registered]) -> None:
    seen: dict[tuple[str, str], Registered] = {}
    for item in found:
        twin = seen.setdefault((item.kind, item.spec.name), item)
        if twin is not item:
            both = f"{twin.origin} and {item.origin}"
            raise PluginError(f'two {item.kind}s are named "{item.spec.name}": {both}')


def _configured(
    found: Sequence[Registered], infos: Sequence[PluginInfo], config: Config
) -> tuple[Plugins, Sequence[str]]:
    sections: dict[str, tuple[str, dict[str, Table]]] = {
        "source": ("sources", config.sources.tables),
        "cache": ("cache", config.cache.tables),
        "plugin": ("plugins", config.plugins),
    }
    reasons: list[str] = []
    parsed: dict[str, list[Registered]] = {kind: [] for kind in sections}
    every = {kind: [item for item in found if item.kind == kind] for kind in sections}
    shown = list(infos)
    for item in found:
        section, tables = sections[item.kind]
        path = f"{section}.{item.spec.name}"
        value, problems = convert_table(item.spec.config, tables.get(item.spec.name, {}), path)
        if problems and not _wanted(item, tables, config):
            shown = [_left_out(info, item, problems) for info in shown]
            continue
        reasons += problems
        if not problems:
            parsed[item.kind].append(Registered(item.kind, item.spec, item.origin, value))
    for kind, _ in KINDS.values():
        section, tables = sections[kind]
        names = {item.spec.name for item in every[kind]}
        reasons += [
            f"{section}.{name}: no such {kind} is installed; "
            f"{_remedy(kind, name, infos)}{_failures(infos)}"
            for name in tables
            if name not in names
        ]
    made = Plugins(parsed["source"], parsed["cache"], parsed["plugin"], shown)
    installed = Plugins(every["source"], every["cache"], every["plugin"], shown)
    for check in (
        partial(installed.strategy, config.cache.strategy),
        partial(installed.source_chain, config.sources.order),
    ):
        try:
            check()
        except ConfigurationError as error:
            reasons += error.reasons
    return made, reasons


def _wanted(item: Registered, tables: dict[str, Table], config: Config) -> bool:
    """Whether the configuration names it, by a table or in the setting that chooses."""
    name = item.spec.name
    chosen = {"cache": (config.cache.strategy,), "source": config.sources.order}
    return name in tables or name in chosen.get(item.kind, ())


def _left_out(info: PluginInfo, item: Registered, problems: Sequence[str]) -> PluginInfo:
    """One merely installed, whose table has required keys, keeps nobody from starting."""
    if (info.name, info.distribution) != (item.origin.name, item.origin.distribution):
        return info
    problem = f"{item.kind} {item.spec.name} is not configured: {'; '.join(problems)}"
    log.info("plugin %s: %s", item.origin, problem)
    state = info.state if len(info.provides) > 1 else "unused"
    return structs.replace(info, state=state, problem=problem[:500])


def _remedy(kind: str, name: str, infos: Sequence[PluginInfo]) -> str:
    """Only our own distributions are named: any other name could be anybody's."""
    prefix = f"{kind} "  # those left out for want of a table are provided, too
    provided = [text for info in infos for text in info.provides]
    have = [text.removeprefix(prefix) for text in provided if text.startswith(prefix)]
    own = DISTRIBUTIONS.get((kind, name))
    if own is not None:
        return f"pip install {own}"
    near = get_close_matches(name, have, n=1) or [other for other in have if name in other]
    if near:
        return f'did you mean "{near[0]}"?'
    return f"installed: {', '.join(sorted(have)) or 'none'}"


def _failures(infos: Sequence[PluginInfo]) -> str:
    """What may be behind a name that nobody registered: plugins that failed."""
    failed = [f"{i.name} ({i.distribution}): {i.problem}" for i in infos if i.state == "failed"]
    return f"; or mend what is installed and failed: {', '.join(failed)}" if failed else ""
