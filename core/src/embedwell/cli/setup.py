"""From arguments to a checked configuration and its plugins."""

import argparse
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from embedwell import exposure
from embedwell.config.load import survey, with_variables
from embedwell.config.schema import Config
from embedwell.errors import ConfigurationError

if TYPE_CHECKING:
    from embedwell.loader.plugins import Plugins

T = TypeVar("T")


def prepare(arguments: argparse.Namespace, *, serving: bool = False) -> tuple[Config, "Plugins"]:
    """With `serving` what only a server needs is checked, too; nothing is bound or loaded.

    Raises ConfigurationError with every reason, or PluginError.
    """
    config, plugins, reasons = examine(arguments, serving=serving)
    if reasons:
        raise ConfigurationError(reasons)
    return config, plugins


def examine(arguments: argparse.Namespace, *, serving: bool) -> tuple[Config, "Plugins", list[str]]:
    """As `prepare`, but returns the reasons; raises PluginError."""
    from embedwell.engine import backends
    from embedwell.loader.load import survey as survey_plugins
    from embedwell.models.aliases import settle
    from embedwell.transport import tls

    config, reasons = survey(config_path(arguments.config), os.environ, overrides(arguments))
    plugins, faults = survey_plugins(config)
    later, engine = [*faults], config.engine
    _try(lambda: settle(config), later)
    if serving:
        _try(partial(backends.create, engine.device, engine.dtype, engine.threads), later)
        _try(lambda: tls.context(config.server), later)
    if serving and not any(fault.startswith("plugins.") for fault in faults):
        guarded = any(exposure.may_guard(item.spec.build) for item in plugins.plugins)
        _try(lambda: exposure.check(config.server, guarded=guarded), later)
    return config, plugins, reasons + with_variables(later, os.environ)


def _try(check: Callable[[], T], reasons: list[str]) -> T | None:
    try:
        return check()
    except ConfigurationError as error:
        reasons += error.reasons
        return None


def config_path(given: str | None) -> Path | None:
    """`--config`, else EMBEDWELL_CONFIG, else ./config.toml if there is one."""
    named = given or os.environ.get("EMBEDWELL_CONFIG")
    if named:
        if not os.path.exists(named):  # noqa: PTH110 - Path raises on a NUL; a pipe will do
            raise ConfigurationError([f"{named}: no such configuration file"])
        return Path(named)
    default = Path("config.toml")
    return default if default.is_file() else None


def overrides(arguments: argparse.Namespace) -> dict[str, object]:
    """The command line's own settings, by their dotted names."""
    names = {"host": "server.host", "port": "server.port", "data_dir": "server.data_dir"}
    given = {key: getattr(arguments, option, None) for option, key in names.items()}
    return {key: value for key, value in given.items() if value is not None}
