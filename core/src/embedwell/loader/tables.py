"""From the plugins' tables to their configurations, with every fault of them."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from msgspec import Struct, structs

from embedwell.config.schema import Config
from embedwell.config.tables import convert_table
from embedwell.errors import ConfigurationError
from embedwell.interfaces.status import PluginInfo
from embedwell.loader.infos import left_out
from embedwell.loader.missing import remedies
from embedwell.loader.plugins import Plugins, Registered
from embedwell.loader.sections import Section, sections


class Reading(Struct, frozen=True):
    """What became of one's table: without `faults` the item is configured."""

    item: Registered
    faults: Sequence[str]
    wanted: bool  # the configuration names it


def configured(
    found: Sequence[Registered], infos: Sequence[PluginInfo], config: Config
) -> tuple[Plugins, Sequence[str]]:
    """Those whose tables are right, and what is wrong with the configuration.

    One merely installed, whose table has required keys, is left out and keeps nobody from starting.
    """
    where = sections(config)
    readings = [_read(item, where[item.kind]) for item in found]
    shown = _shown(infos, readings)
    reasons = [
        *(fault for reading in readings if reading.wanted for fault in reading.faults),
        *(text for kind in where for text in _unknown(kind, where[kind], found, infos)),
        *_unmet(_sorted(found, shown), config),
    ]
    return _sorted([r.item for r in readings if not r.faults], shown), reasons


def _read(item: Registered, section: Section) -> Reading:
    name = item.spec.name
    table = section.tables.get(name, {})
    value, faults = convert_table(item.spec.config, table, f"{section.path}.{name}")
    return Reading(structs.replace(item, config=value), faults, section.mentions(name))


def _shown(infos: Sequence[PluginInfo], readings: Sequence[Reading]) -> Sequence[PluginInfo]:
    for reading in readings:
        if reading.faults and not reading.wanted:
            infos = [left_out(info, reading.item, reading.faults) for info in infos]
    return infos


def _unknown(
    kind: str, section: Section, found: Sequence[Registered], infos: Sequence[PluginInfo]
) -> Iterator[str]:
    """Tables that nobody reads."""
    names = {item.spec.name for item in found if item.kind == kind}
    for name in section.tables:
        if name not in names:
            what_to_do = remedies(kind, name, infos)
            yield f"{section.path}.{name}: no such {kind} is installed; {what_to_do}"


def _unmet(installed: Plugins, config: Config) -> Iterator[str]:
    """Choices that nothing installed meets; a table at fault is told by itself."""
    checks: tuple[Callable[[], object], ...] = (
        partial(installed.strategy, config.cache.strategy),
        partial(installed.source_chain, config.sources.order),
    )
    for check in checks:
        try:
            check()
        except ConfigurationError as error:
            yield from error.reasons


def _sorted(items: Sequence[Registered], infos: Sequence[PluginInfo]) -> Plugins:
    def of(kind: str) -> Sequence[Registered]:
        return [item for item in items if item.kind == kind]

    return Plugins(of("source"), of("cache"), of("plugin"), infos)
