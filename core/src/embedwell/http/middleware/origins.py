"""Pages of other sites: which may call, and what their browsers are told."""

import re
from collections.abc import Sequence

from embedwell.errors import Forbidden
from embedwell.http.asgi import App, Message, Receive, Scope, Send, target, values
from embedwell.http.context import exchange
from embedwell.http.envelope import shown
from embedwell.http.table import RouteTable

SAFE = ("GET", "HEAD")  # for others a page needs leave, for their answers by the browser's own rule
PREFLIGHT_SECONDS = b"600"
HEADERS = b"authorization, content-type"
NAMES = re.compile(rb"[A-Za-z0-9-]{1,64}(, ?[A-Za-z0-9-]{1,64}){0,50}")
EXPOSED = (
    b"x-request-id, x-embedwell-truncated, server-timing, location, retry-after, retry-after-ms, "
    b"x-should-retry"
)
PLAIN = {"ws": b"http", "wss": b"https"}


class Origins:
    """Knows which origins are listed; `null` never is."""

    def __init__(self, origins: Sequence[str]) -> None:
        self._any = "*" in origins
        self._listed = frozenset(o.lower().encode() for o in origins)

    def lists(self, origin: bytes) -> bool:
        """Whether pages of `origin`, as a browser sends it, may call and read."""
        return origin != b"null" and (self._any or origin.lower() in self._listed)


class Share:
    """Lets listed origins read answers, errors too; so it is outside of what makes them."""

    def __init__(self, origins: Origins) -> None:
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send, then: App) -> None:
        added = [(b"vary", b"Origin")]
        origin = values(scope, b"origin")
        if len(origin) == 1 and self._origins.lists(origin[0]):
            added += [
                (b"access-control-allow-origin", origin[0]),
                (b"access-control-expose-headers", EXPOSED),
            ]

        async def share(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *added]}
            await send(message)

        await then(scope, receive, share)


class OriginCheck:
    """Answers preflights; raises Forbidden where a page that is not listed would change things."""

    def __init__(self, origins: Origins, table: RouteTable) -> None:
        self._origins = origins
        self._table = table

    async def __call__(self, scope: Scope, receive: Receive, send: Send, then: App) -> None:
        value = next((value for name, value in scope["headers"] if name == b"origin"), None)
        if value is None:
            await then(scope, receive, send)
            return
        if self._passes(scope, value.strip()):
            if exchange(scope).method == "OPTIONS" and _wanted(scope):
                await self._preflight(scope, send)
                return
        elif scope["type"] == "websocket" or exchange(scope).method not in SAFE:
            origin = shown(value.decode("latin-1"))
            raise Forbidden(f"Pages of {origin!a} may not call here (server.allowed_origins)")
        await then(scope, receive, send)

    def _passes(self, scope: Scope, origin: bytes) -> bool:
        if len(values(scope, b"origin")) > 1:
            return False
        return self._origins.lists(origin) or origin.lower() == own_origin(scope)

    async def _preflight(self, scope: Scope, send: Send) -> None:
        methods = sorted(self._table.methods(target(scope)))
        asked = values(scope, b"access-control-request-headers")
        named = asked[0] if len(asked) == 1 and NAMES.fullmatch(asked[0]) else HEADERS
        headers = [
            (b"access-control-allow-methods", ", ".join(methods).encode()),
            (b"access-control-allow-headers", named),
            (b"access-control-max-age", PREFLIGHT_SECONDS),
        ]
        await send({"type": "http.response.start", "status": 204, "headers": headers})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def own_origin(scope: Scope) -> bytes:
    """The origin of pages that come from this server, as the client reaches it."""
    host = values(scope, b"host")
    scheme = PLAIN.get(scope["scheme"]) or str(scope["scheme"]).encode()
    named = host[0].lower() if len(host) == 1 else b""
    return scheme + b"://" + named.removesuffix(b":443" if scheme == b"https" else b":80")


def _wanted(scope: Scope) -> bool:
    return bool(values(scope, b"access-control-request-method"))
