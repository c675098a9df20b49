"""What is shown of every plugin that was found: in use, unused, failed, left out."""

import logging
from collections.abc import Sequence

from msgspec import structs

from embedwell.config.schema import Config
from embedwell.config.tables import MISSING
from embedwell.errors import PluginError
from embedwell.interfaces.status import PluginInfo
from embedwell.loader.origins import Origin
from embedwell.loader.plugins import Registered
from embedwell.loader.sections import sections

log = logging.getLogger("embedwell.loader")


def taken(origin: Origin, items: Sequence[Registered], config: Config) -> PluginInfo:
    """One that registered these; a strategy that is not chosen is unused."""
    used = any(i.kind != "cache" or i.spec.name == config.cache.strategy for i in items)
    return PluginInfo(
        name=origin.name,
        distribution=origin.distribution,
        version=origin.version,
        state="active" if used else "unused",
        provides=[f"{item.kind} {item.spec.name}" for item in items],
        summary="; ".join(item.spec.summary for item in items),
    )


def failed(origin: Origin, error: BaseException, config: Config) -> PluginInfo:
    """One that is skipped; raises PluginError where the configuration names it."""
    reason = f"{type(error).__name__}: {error}"
    if any(section.mentions(origin.name) for section in sections(config).values()):
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


def left_out(info: PluginInfo, item: Registered, faults: Sequence[str]) -> PluginInfo:
    """The info once this item is left out, if it is its plugin's."""
    if (info.name, info.distribution) != (item.origin.name, item.origin.distribution):
        return info
    problem = _why_not(item, faults)
    log.info("plugin %s: %s", item.origin, problem)
    state = info.state if len(info.provides) > 1 else "unused"
    return structs.replace(info, state=state, problem=problem[:500])


def _why_not(item: Registered, faults: Sequence[str]) -> str:
    """No fault of anybody's where the operator has not asked for it."""
    absent = [fault.removesuffix(MISSING) for fault in faults if fault.endswith(MISSING)]
    if len(absent) == len(faults):
        return f"off: no {', no '.join(absent)} in the configuration"
    return f"{item.kind} {item.spec.name} is not configured: {'; '.join(faults)}"
