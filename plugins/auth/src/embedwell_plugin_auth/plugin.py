"""Registers the plugin `auth`."""

from collections.abc import Sequence
from typing import Any

from embedwell import PluginSpec, hookimpl
from embedwell_plugin_auth.auth import Auth
from embedwell_plugin_auth.config import Config


@hookimpl
def register_plugins() -> Sequence[PluginSpec[Any]]:
    """A guard that asks for keys, once some are configured."""
    return [
        PluginSpec(
            name="auth",
            summary="API keys with scopes and quotas",
            config=Config,
            build=Auth,
        )
    ]
