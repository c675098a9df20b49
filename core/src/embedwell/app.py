"""The server as one ASGI application: middleware around Quart."""

from collections.abc import Sequence

import msgspec

from embedwell import __version__, exposure
from embedwell.http.asgi import Receive, Scope, Send
from embedwell.http.core import Core
from embedwell.http.dispatch import Dispatcher
from embedwell.http.leftover import Leftover
from embedwell.http.middleware.drain import Traffic
from embedwell.http.middleware.stack import layers, wrap
from embedwell.http.openapi import document
from embedwell.http.quart_app import endpoint
from embedwell.http.routes import (
    cache,
    counter,
    documentation,
    embeddings,
    missing,
    models,
    operations,
    tasks,
)
from embedwell.http.table import RouteTable
from embedwell.interfaces.routes import Mount, Route


class App:
    """An ASGI 3 application; loop only.

    It holds nothing that must be closed: `lifespan` is answered at once, and whoever made the
    core ends it after `drained`.
    """

    def __init__(self, core: Core) -> None:
        self._traffic = Traffic()
        core.in_flight = lambda: self.in_flight
        self._document = b""
        self._version, self._max_inputs = __version__, core.max_inputs
        self._guarded = exposure.has_guard(core.plugins)
        self._root_path = core.server.root_path
        self._shown = self._routes(core)
        hints = missing.routes(core.routes)
        served = [*self._shown, *hints]
        mounts = [route for route in core.routes if isinstance(route, Mount)]
        dispatch = Dispatcher(core.server, core.clock, served, self._traffic)
        table = RouteTable([*served, *mounts])
        self._run = wrap(
            layers(core, table, self._traffic), endpoint(served, dispatch, self._traffic)
        )

    def _routes(self, core: Core) -> Sequence[Route]:
        traffic = self._traffic
        both = [*embeddings.routes(core), *models.routes(core)]
        return [
            *both,
            *(msgspec.structs.replace(route, path=f"/v1{route.path}") for route in both),
            *cache.routes(core),
            *counter.routes(core),
            *tasks.routes(core),
            *operations.routes(core, lambda: traffic.draining),
            *documentation.routes(self._openapi),
            *(route for route in core.routes if isinstance(route, Route)),
        ]

    def _openapi(self) -> bytes:
        if not self._document:
            made = document(self._shown, self._version, self._max_inputs, guarded=self._guarded)
            self._document = _below(self._root_path, made)
        return self._document

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "websocket":
            await self._run(scope, receive, send)
        else:
            leftover = Leftover(receive, send)
            self._traffic.begin(leftover)
            try:
                await self._run(scope, leftover.receive, leftover.send)
                await leftover.finish()
            finally:
                self._traffic.end(leftover)

    def begin_drain(self) -> None:
        """From now on only public routes are served; the rest is answered 503 DRAINING.

        Bodies that stream are given up at once, with the same answer.
        """
        self._traffic.drain()

    def cut(self) -> None:
        """Every request still under way is answered 503 DRAINING now."""
        self._traffic.cut()

    @property
    def in_flight(self) -> int:
        """HTTP requests under way, WebSockets not among them."""
        return self._traffic.in_flight

    @property
    def unanswered(self) -> int:
        """Of them, those whose answer is still to be made, not only to be taken by its client."""
        return self._traffic.unanswered

    async def drained(self) -> None:
        """Returns when no request is under way."""
        await self._traffic.idle()


def create_app(core: Core) -> App:
    """Raises PluginError where two routes are the same or a path is none."""
    return App(core)


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


def _below(root_path: str, openapi: bytes) -> bytes:
    """The document with the prefix that its paths have for clients."""
    if not root_path:
        return openapi
    whole = msgspec.json.decode(openapi)
    return msgspec.json.encode({**whole, "servers": [{"url": root_path}]})
