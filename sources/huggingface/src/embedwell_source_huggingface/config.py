"""The configuration, and what it comes to in an environment."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct

Seconds = Annotated[float, Meta(gt=0, le=86_400)]
TRUE = {"1", "ON", "YES", "TRUE"}  # as huggingface_hub reads its switches


class Env(Struct, frozen=True, forbid_unknown_fields=True):
    """A value that stands in an environment variable."""

    env: Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")]


class Config(Struct, frozen=True, forbid_unknown_fields=True):
    """`[sources.huggingface]`; an empty `endpoint` or `cache_dir` leaves it to the environment.

    `refresh_seconds` 0 keeps a branch at the commit that it was resolved to; else it is asked
    for anew after so long, in the background.
    `allow` has globs of tags, for `download = "allowlist"`. `timeout` bounds a question to the
    Hub, and half of it the wait of one that others keep from being put; one that a request puts
    ends with the server's `sources.resolve_timeout`, too.
    """

    token: Annotated[str, Meta(max_length=1_000)] | Env = Env("HF_TOKEN")
    endpoint: Annotated[str, Meta(pattern=r"^(https?://[^\s]{1,500})?$")] = ""
    download: Literal["on_request", "allowlist", "never"] = "on_request"
    allow: tuple[Annotated[str, Meta(min_length=1, max_length=200)], ...] = ()
    offline: bool = False
    cache_dir: str = ""
    refresh_seconds: Annotated[float, Meta(ge=0, le=31_536_000)] = 0
    timeout: Seconds = 4
    stall_seconds: Seconds = 90
    deadline_seconds: Seconds = 3_600
    max_size_gb: Annotated[float, Meta(gt=0, le=100_000)] = 50
    max_concurrent: Annotated[int, Meta(ge=1, le=64)] = 2

    def __repr__(self) -> str:
        return f"Config(endpoint={self.endpoint!r}, download={self.download!r}, token=...)"


class Places(Struct, frozen=True):
    """Where models lie: `cache` is written, `others` are only read, `home` is the library's."""

    cache: Path
    others: tuple[Path, ...]
    home: Path


class Access(Struct, frozen=True):
    """How the Hub is reached; None leaves the endpoint to the library."""

    token: str | None
    endpoint: str | None

    def __repr__(self) -> str:
        return f"Access(endpoint={self.endpoint!r}, token=...)"


def access(config: Config, environ: Mapping[str, str]) -> Access:
    """Raises ValueError where a variable that the operator named is not set."""
    token = config.token
    if isinstance(token, Env):
        found = environ.get(token.env, "").strip()
        if not found and token != Config().token:
            raise ValueError(f"token: the environment variable {token.env} is not set")
        token = found
    endpoint = config.endpoint or environ.get("HF_ENDPOINT", "")
    return Access(token.strip() or None, endpoint.rstrip("/") or None)


def places(config: Config, folder: Path, environ: Mapping[str, str]) -> Places:
    """`folder` is the source's own; used where the operator named no other."""
    home = _folder(environ, "HF_HOME")
    cache = _folder(environ, "HF_HUB_CACHE") or _folder(environ, "HUGGINGFACE_HUB_CACHE")
    chosen = Path(config.cache_dir).expanduser() if config.cache_dir else cache
    if chosen is None:
        chosen = home / "hub" if home else folder / "hub"
    user = (
        _folder(environ, "XDG_CACHE_HOME") or Path(environ.get("HOME", "~")).expanduser() / ".cache"
    )
    standard = user / "huggingface" / "hub"
    return Places(chosen, (standard,) if standard != chosen else (), home or folder / "home")


def offline(config: Config, environ: Mapping[str, str]) -> bool:
    """Whether the Hub may not be asked at all."""
    switches = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    return config.offline or any(environ.get(name, "").upper() in TRUE for name in switches)


def _folder(environ: Mapping[str, str], name: str) -> Path | None:
    value = environ.get(name, "")
    return Path(value).expanduser() if value else None
