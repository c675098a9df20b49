"""Bounds what all requests together may hold: bodies by the bytes that came, requests by number."""

from embedwell.errors import Overloaded
from embedwell.http.asgi import App, Receive, Scope, Send, has_body, is_crowded, values
from embedwell.http.body import Limit, too_large
from embedwell.http.context import exchange, matched
from embedwell.http.refusals import crowd
from embedwell.interfaces.routes import Route

BODIES = 8  # largest bodies that fit into memory at the same time
LEAST_BYTES = 256_000_000
MAX_REQUESTS = 4096
MAX_PROBES = 16  # beyond them
STREAM_BYTES = 1_000_000  # a stream is never held whole
FIRST_BYTES = 64_000  # of a body that is announced: whoever sends nothing keeps nobody out


class Admission:
    """Gives each request a permit that grows with its body; raises PayloadTooLarge, Overloaded.

    Probes are let in beyond what other requests may be.
    """

    def __init__(self, max_body: int) -> None:
        self._max_body = max_body
        self._total = max(LEAST_BYTES, BODIES * max_body)
        self._held = 0
        self._requests = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send, then: App) -> None:
        match = matched(scope)
        if is_crowded(scope.get("state", ())) and not match.is_probe:
            raise crowd()
        worth = self._worth(scope, match.route) if match.route else 0
        if match.access == "public":
            await then(scope, receive, send)
            return
        if self._requests >= MAX_REQUESTS + (MAX_PROBES if match.is_probe else 0):
            raise _too_many()
        permit = Permit(self)
        permit.cover(worth)
        exchange(scope).cover = permit.cover
        self._requests += 1
        try:
            await then(scope, receive, send)
        finally:
            self._held -= permit.worth
            self._requests -= 1

    def _worth(self, scope: Scope, route: Route) -> int:
        if not (route.body or route.stream) or not has_body(scope):
            return 0
        limit = body_limit(route, self._max_body)
        declared = values(scope, b"content-length")
        if declared and int(declared[0]) > limit.size:
            raise too_large(limit)
        if route.stream:
            return STREAM_BYTES
        return min(int(declared[0]), FIRST_BYTES) if declared else FIRST_BYTES

    def take(self, more: int, held: int) -> None:
        """For who holds `held` bytes already; raises Overloaded."""
        others = self._held - held
        if others and self._held + more > self._total:  # alone, any legal body may come
            raise _too_many()
        self._held += more


class Permit:
    """What one request holds of all that they may."""

    def __init__(self, home: Admission) -> None:
        self._home = home
        self.worth = 0

    def cover(self, size: int) -> None:
        """For a body that has grown to so many bytes; raises Overloaded."""
        if size > self.worth:
            self._home.take(size - self.worth, self.worth)
            self.worth = size


def _too_many() -> Overloaded:
    return Overloaded("The server has too many requests at once; try again", retry_after=1)


def body_limit(route: Route, max_body: int) -> Limit:
    """Of the route's body; `max_body` is the server's own, in bytes."""
    if route.max_body is None:
        return Limit(max_body, "server.max_body_mb")
    return Limit(route.max_body)
