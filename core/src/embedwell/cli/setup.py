"""From arguments to a checked configuration and its plugins."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from embedwell.config.load import survey
from embedwell.config.schema import Config
from embedwell.errors import ConfigurationError

if TYPE_CHECKING:
    from embedwell.loader import Plugins


def prepare(arguments: argparse.Namespace) -> tuple[Config, "Plugins"]:
    """Raises ConfigurationError or PluginError; nothing is bound or loaded."""
    from embedwell.loader import load as load_plugins
    from embedwell.models.aliases import settle

    path = config_path(arguments.config)
    config, reasons = survey(path, os.environ, overrides(arguments))
    plugins: Plugins | None = None
    try:
        settle(config)
    except ConfigurationError as error:
        reasons += error.reasons
    try:
        plugins = load_plugins(config)
    except ConfigurationError as error:
        reasons += error.reasons
    if reasons or plugins is None:
        raise ConfigurationError(reasons)
    return config, plugins


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
