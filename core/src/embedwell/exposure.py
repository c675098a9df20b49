"""Whether strangers could use the server unasked."""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from embedwell.config.schema import Server
from embedwell.config.server import is_local
from embedwell.errors import ConfigurationError
from embedwell.interfaces.plugins import Plugin

KEYS = "embedwell_plugin_auth"


def check(server: Server, *, guarded: bool) -> None:
    """Raises ConfigurationError where others reach it, no guard asks, and nobody allowed that."""
    if guarded or server.allow_unauthenticated or is_local(server):
        return
    pip = "" if find_spec(KEYS) else "pip install embedwell-plugin-auth, then "
    raise ConfigurationError(
        [
            f"server.host: on {server.host} everybody who reaches this machine could use, upload "
            f"and delete models: have keys asked for ([plugins.auth]; {pip}python -m {KEYS} "
            "new NAME makes one), listen on 127.0.0.1 behind a proxy that asks, or set "
            "server.allow_unauthenticated = true"
        ]
    )


def has_guard(plugins: Sequence[tuple[str, Plugin]]) -> bool:
    """Whether any of them asks who calls."""
    return any(plugin.guards for _, plugin in plugins)


def may_guard(build: Any) -> bool:
    """Whether what `build` makes could ask, as far as it shows before it is called."""
    is_plugin = isinstance(build, type) and issubclass(build, Plugin)
    return not is_plugin or build.guard is not Plugin.guard
