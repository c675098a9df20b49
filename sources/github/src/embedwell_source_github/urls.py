"""URLs by one parser of our own, so that what is checked is what is connected to."""

import re

from msgspec import Struct

PORTS = {"http": 80, "https": 443}
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?)"
    r"(?::(?P<port>[0-9]{1,5}))?(?P<target>[/?][\x21-\x7e]{0,8000})?"
)
_TARGET = re.compile(r"/(?!/)[\x21-\x7e]{0,8000}")


class Origin(Struct, frozen=True):
    """Whom a connection is made to; the host is in lower case."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        return self.host if self.port == PORTS[self.scheme] else f"{self.host}:{self.port}"


class Url(Struct, frozen=True):
    """`target` is path and query, as they are sent."""

    origin: Origin
    target: str

    def at(self, path: str) -> "Url":
        """The URL with `path` put after its own."""
        return Url(self.origin, self.target.rstrip("/") + path)

    def __str__(self) -> str:  # queries carry signatures: they are shown nowhere
        return str(self.origin)


def parse(text: str) -> Url | None:
    """An absolute http(s) URL without user, IPv6 literal or odd characters; else None."""
    found = _URL.fullmatch(text.partition("#")[0])
    if found is None or "\\" in text:
        return None
    port = int(found["port"] or PORTS[found["scheme"]])
    target = found["target"] or "/"
    if not 0 < port < 65_536:
        return None
    origin = Origin(found["scheme"], found["host"].lower(), port)
    return Url(origin, target if target[0] == "/" else f"/{target}")


def follow(base: Url, location: str) -> Url | None:
    """Where a redirect leads: a URL, or an absolute path on the same host; else None."""
    if _TARGET.fullmatch(location) and "\\" not in location:
        return Url(base.origin, location.partition("#")[0])
    return parse(location)
