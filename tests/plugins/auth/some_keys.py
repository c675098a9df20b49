"""Keys, and tables of the configuration that let them in."""

from typing import Any

from embedwell_plugin_auth.digests import written

USER = "user-key-0123456789abcdefghijklmnop"
ADMIN = "admin-key-0123456789abcdefghijklmno"
WRONG = "wrong-key-0123456789abcdefghijklmno"


def table(key: str, *scopes: str, **settings: Any) -> dict[str, Any]:
    """As it stands in config.toml below `[plugins.auth.keys.<name>]`."""
    return {"key": written(key), "scopes": list(scopes or ("embed",)), **settings}


def tables(**keys: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """`plugins` of a Config."""
    return {"auth": {"keys": keys}}


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}
