"""From arguments to a checked configuration and its plugins."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from embedwell import exposure
from embedwell.config.load import survey
from embedwell.config.schema import Config
from embedwell.errors import ConfigurationError

if TYPE_CHECKING:
    from embedwell.loader import Plugins

T = TypeVar("T")


def prepare(arguments: argparse.Namespace, *, serving: bool = False) -> tuple[Config, "Plugins"]:
    """With `serving` what only a server needs is checked, too; nothing is bound or loaded.

    Raises ConfigurationError with every reason, or PluginError.
    """
    from embedwell.loader import load as load_plugins
    from embedwell.models.aliases import settle
    from embedwell.transport import tls

    path = config_path(arguments.config)
    config, reasons = survey(path, os.environ, overrides(arguments))
    _try(lambda: settle(config), reasons)
    plugins = _try(lambda: load_plugins(config), reasons)
    if serving and plugins:
        guarded = any(exposure.may_guard(item.spec.build) for item in plugins.plugins)
        _try(lambda: exposure.check(config.server, guarded=guarded), reasons)
        _try(lambda: tls.context(config.server), reasons)
    if reasons or plugins is None:
        raise ConfigurationError(reasons)
    return config, plugins


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
