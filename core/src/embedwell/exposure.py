"""Whether strangers could use the server unasked."""

from collections.abc import Sequence
from typing import Any

from embedwell.config.schema import Server
from embedwell.config.server import is_local
from embedwell.errors import ConfigurationError
from embedwell.interfaces.plugins import Plugin


def check(server: Server, *, guarded: bool) -> None:
    """Raises ConfigurationError where others reach it, no guard asks, and nobody allowed that."""
    if guarded or server.allow_unauthenticated or is_local(server):
        return
    raise ConfigurationError(
        [
            f"server.host: on {server.host} everybody who reaches this machine could use, upload "
            "and delete models: have keys asked for (pip install embedwell-plugin-auth, "
            "[plugins.auth]), listen on 127.0.0.1 behind a proxy that asks, or set "
            "server.allow_unauthenticated = true"
        ]
    )


def has_guard(plugins: Sequence[tuple[str, Plugin]]) -> bool:
    """Whether any of them asks who calls."""
    return any(
        getattr(plugin, "guards", type(plugin).guard is not Plugin.guard) for _, plugin in plugins
    )


def may_guard(build: Any) -> bool:
    """Whether what `build` makes could ask, as far as it shows before it is called."""
    is_plugin = isinstance(build, type) and issubclass(build, Plugin)
    return not is_plugin or build.guard is not Plugin.guard
