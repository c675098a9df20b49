"""Where a server is, and the bytes of a request to it."""

from urllib.parse import urlsplit

from msgspec import Struct

from embedwell import __version__
from embedwell.errors import Invalid


class Target(Struct, frozen=True):
    """A server's base URL taken apart; `authority` is what the Host header says."""

    url: str
    host: str
    port: int
    secure: bool
    authority: str
    prefix: str


def target(url: str) -> Target:
    """Raises Invalid for what is no http or https URL of a server."""
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        raise _no_url(url) from None
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise _no_url(url)
    if parts.query or parts.fragment or not url.isascii() or not url.isprintable() or " " in url:
        raise _no_url(url)
    base = url.rstrip("/")
    secure = parts.scheme == "https"
    return Target(base, parts.hostname, port, secure, parts.netloc, parts.path.rstrip("/"))


def message(to: Target, method: str, path: str, key: str, body: bytes = b"") -> bytes:
    """A whole HTTP/1.1 request for a connection that is kept."""
    lines = [
        f"{method} {to.prefix}{path} HTTP/1.1",
        f"Host: {to.authority}",
        f"User-Agent: embedwell-bench/{__version__}",
        "Accept: application/json",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *([f"Authorization: Bearer {key}"] if key else []),
    ]
    return "\r\n".join([*lines, "", ""]).encode("ascii") + body


def _no_url(url: str) -> Invalid:
    return Invalid(
        f"{url[:200]!r} is not a server's URL: say http://HOST:PORT or http://HOST:PORT/v1"
    )
