"""Bounds what all requests together may hold: bodies by their bytes, requests by their number."""

from embedwell.errors import Overloaded
from embedwell.http.asgi import App, Receive, Scope, Send, has_body, values
from embedwell.http.body import too_large
from embedwell.http.context import matched
from embedwell.interfaces.routes import Route

BODIES = 8  # largest bodies that fit into memory at the same time
LEAST_BYTES = 256_000_000
MAX_REQUESTS = 4096
STREAM_BYTES = 1_000_000  # a stream is never held whole


class Admission:
    """Gives each request a permit worth its body; raises PayloadTooLarge, Overloaded."""

    def __init__(self, max_body: int) -> None:
        self._max_body = max_body
        self._total = max(LEAST_BYTES, BODIES * max_body)
        self._held = 0
        self._requests = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send, then: App) -> None:
        match = matched(scope)
        worth = self._worth(scope, match.route) if match.route else 0
        if match.access == "public":
            await then(scope, receive, send)
            return
        self._enter(worth)
        try:
            await then(scope, receive, send)
        finally:
            self._held -= worth
            self._requests -= 1

    def _worth(self, scope: Scope, route: Route) -> int:
        if not (route.body or route.stream) or not has_body(scope):
            return 0
        limit = body_limit(route, self._max_body)
        declared = values(scope, b"content-length")
        if declared and int(declared[0]) > limit:
            raise too_large(limit)
        if route.stream:
            return STREAM_BYTES
        return int(declared[0]) if declared else limit

    def _enter(self, worth: int) -> None:
        full = self._held and self._held + worth > self._total  # alone, any legal body may come
        if full or self._requests >= MAX_REQUESTS:
            raise Overloaded("The server has too many requests at once; try again", retry_after=1)
        self._held += worth
        self._requests += 1


def body_limit(route: Route, max_body: int) -> int:
    """Bytes that the route's body may have; `max_body` is the server's own limit."""
    return max_body if route.max_body is None else route.max_body
