"""The configuration, and what it comes to in an environment."""

import re
from collections.abc import Mapping
from typing import Annotated

from msgspec import Meta, Struct

from embedwell_source_github.urls import Origin, Url, parse

Seconds = Annotated[float, Meta(gt=0, le=86_400)]
Address = Annotated[str, Meta(pattern=r"^(https?://[^\s]{1,500})?$")]
Host = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]{0,252}(:[0-9]{1,5})?$")]
API = "https://api.github.com"
_TOKEN = re.compile(r"[\x21-\x7e]{1,1000}")


class Env(Struct, frozen=True, forbid_unknown_fields=True):
    """A value that stands in an environment variable."""

    env: Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")]


class Config(Struct, frozen=True, forbid_unknown_fields=True):
    """`[sources.github]`; an empty `api_url` is github.com, an empty `web_url` follows from it.

    `storage_hosts` are further hosts of a GitHub Enterprise that may be redirected to.
    """

    token: Annotated[str, Meta(max_length=1_000)] | Env = Env("GITHUB_TOKEN")
    api_url: Address = ""
    web_url: Address = ""
    storage_hosts: Annotated[tuple[Host, ...], Meta(max_length=100)] = ()
    max_size_gb: Annotated[float, Meta(gt=0, le=100_000)] = 50
    deadline_seconds: Seconds = 3_600
    stall_seconds: Seconds = 60
    max_concurrent: Annotated[int, Meta(ge=1, le=64)] = 2

    def __repr__(self) -> str:
        return f"Config(api_url={self.api_url!r}, web_url={self.web_url!r}, token=...)"


class Access(Struct, frozen=True):
    """How GitHub is reached; `own` are the origins that the operator named."""

    token: str | None
    api: Url
    web: Url
    own: frozenset[Origin]

    def __repr__(self) -> str:
        return f"Access(api={self.api}, web={self.web}, token=...)"


def access(config: Config, environ: Mapping[str, str]) -> Access:
    """Raises ValueError where an address is none, or a variable that was named is not set."""
    api = _url("api_url", config.api_url or API)
    web = _url("web_url", config.web_url) if config.web_url else _web(api)
    storage = [_url("storage_hosts", f"https://{host}").origin for host in config.storage_hosts]
    named = [url.origin for url, given in ((api, config.api_url), (web, config.web_url)) if given]
    derived = [web.origin] if config.api_url else []
    return Access(_token(config, environ), api, web, frozenset([*named, *derived, *storage]))


def _token(config: Config, environ: Mapping[str, str]) -> str | None:
    token = config.token
    if isinstance(token, Env):
        found = environ.get(token.env, "").strip()
        if not found and token != Config().token:
            raise ValueError(f"token: the environment variable {token.env} is not set")
        token = found
    token = token.strip()
    if token and not _TOKEN.fullmatch(token):
        raise ValueError("token: has characters that no token has")
    return token or None


def _url(key: str, text: str) -> Url:
    url = parse(text)
    if url is None or "?" in url.target:
        raise ValueError(f"{key}: not an address: http(s)://host[:port][/path]")
    return url


def _web(api: Url) -> Url:
    """As GitHub Enterprise lays them out: `api.HOST`, or `HOST/api/v3`."""
    host = api.origin.host.removeprefix("api.")
    path = api.target.rstrip("/").removesuffix("/api/v3")
    return Url(Origin(api.origin.scheme, host, api.origin.port), path or "/")
