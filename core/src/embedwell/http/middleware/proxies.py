"""What proxies say of the client that they act for, believed of trusted ones alone."""

import ipaddress
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

from msgspec import Struct

from embedwell.config.server import UNIX
from embedwell.http.asgi import App, Receive, Scope, Send, values

KEPT = 1024  # addresses whose verdict is remembered
SCHEMES = {"http": {"http": "http", "https": "https"}, "websocket": {"http": "ws", "https": "wss"}}
# One parameter of RFC 7239's Forwarded, and what ends it.
PARAMETER = re.compile(r'\s*([A-Za-z]+)=("(?:[^"\\]|\\.)*"|[^\s",;]*)\s*([;,]|$)')
PORT = re.compile(r"\[(.*)\](:\w*)?|([0-9.]+)(:\w*)?")


class Claim(Struct, frozen=True):
    """What is said of a request: the way that it came, nearest last; "" where nothing is."""

    clients: Sequence[str]
    scheme: str = ""
    host: str = ""


class Proxies:
    """Puts client, scheme and Host of the request that a trusted proxy got into the scope.

    `X-Forwarded-For`, `-Proto` and `-Host` are read, or, where the first is missing, `Forwarded`,
    if there is one.
    The client is the rightmost address that is not itself a trusted proxy's; of scheme and host
    the last value counts, which the nearest proxy wrote.
    """

    def __init__(self, trusted: Sequence[str]) -> None:
        self._unix = UNIX in trusted
        self._networks = [ipaddress.ip_network(t) for t in trusted if t != UNIX]
        self._is_trusted = lru_cache(KEPT)(self._within)

    async def __call__(self, scope: Scope, receive: Receive, send: Send, then: App) -> None:
        peer = scope.get("client")
        trusted = self._is_trusted(peer[0]) if peer else self._unix
        await then(self._told(scope) if trusted else scope, receive, send)

    def _told(self, scope: Scope) -> Scope:
        claim = _claim(scope)
        told = dict(scope)
        client = self._client(claim.clients)
        if client:
            told["client"] = (client, 0)
        scheme = SCHEMES[scope["type"]].get(claim.scheme.lower())
        if scheme:
            told["scheme"] = scheme
        if claim.host:
            others = [pair for pair in scope["headers"] if pair[0] != b"host"]
            told["headers"] = [(b"host", claim.host.encode("latin-1")), *others]
        return told

    def _client(self, clients: Sequence[str]) -> str:
        """The address, empty where none is named; what is no address ends the way."""
        found = ""
        for text in reversed(clients):
            address = _address(text)
            if not address:
                break
            found = address
            if not self._is_trusted(address):
                break
        return found

    def _within(self, text: str) -> bool:
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in self._networks)


def _claim(scope: Scope) -> Claim:
    clients = _listed(scope, b"x-forwarded-for")
    if not clients and values(scope, b"forwarded"):
        return _forwarded(scope)
    schemes, hosts = _listed(scope, b"x-forwarded-proto"), _listed(scope, b"x-forwarded-host")
    return Claim(clients, schemes[-1] if schemes else "", hosts[-1] if hosts else "")


def _listed(scope: Scope, name: bytes) -> list[str]:
    joined = b",".join(values(scope, name)).decode("latin-1")
    return [part.strip() for part in joined.split(",")] if joined else []


def _forwarded(scope: Scope) -> Claim:
    elements = list(_elements(b",".join(values(scope, b"forwarded")).decode("latin-1")))
    last = elements[-1] if elements else {}
    return Claim([e.get("for", "") for e in elements], last.get("proto", ""), last.get("host", ""))


def _elements(text: str) -> Iterator[dict[str, str]]:
    """One dict a proxy; the last is empty where the header is not well-formed."""
    element: dict[str, str] = {}
    at = 0
    while at < len(text):
        match = PARAMETER.match(text, at)
        if match is None:
            yield {}
            return
        name, value, end = match.groups()
        element[name.lower()] = re.sub(r"\\(.)", r"\1", value[1:-1]) if value[:1] == '"' else value
        at = match.end()
        if end != ";":
            yield element
            element = {}


def _address(text: str) -> str:
    """An address without its port; "" for anything else."""
    match = PORT.fullmatch(text)
    bare = (match[1] or match[3]) if match else text
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        return ""
