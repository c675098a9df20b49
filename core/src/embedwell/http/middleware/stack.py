"""The order of the layers, in one list."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Protocol

from embedwell.config.server import hosts
from embedwell.http.asgi import App, Receive, Scope, Send
from embedwell.http.core import Core
from embedwell.http.middleware.admission import Admission
from embedwell.http.middleware.drain import Drain, Traffic
from embedwell.http.middleware.errors import Errors
from embedwell.http.middleware.guards import Guards
from embedwell.http.middleware.hosts import Hosts
from embedwell.http.middleware.limits import Limits
from embedwell.http.middleware.log import Log
from embedwell.http.middleware.origins import OriginCheck, Origins, Share
from embedwell.http.middleware.proxies import Proxies
from embedwell.http.middleware.request_id import RequestId
from embedwell.http.middleware.root_path import RootPath
from embedwell.http.middleware.routing import Routing
from embedwell.http.table import RouteTable


class Layer(Protocol):
    """Sees a request on its way in and its answer on its way out."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send, then: App) -> None: ...


def layers(core: Core, table: RouteTable, traffic: Traffic) -> Sequence[Layer]:
    """Outermost first: everything before Admission is decided without a byte of the body.

    What the configuration does not ask for is not there, and costs no request anything.
    """
    return tuple(_layers(core, table, traffic))


def _layers(core: Core, table: RouteTable, traffic: Traffic) -> Iterator[Layer]:
    server, origins = core.server, Origins(core.server.allowed_origins)
    if server.root_path:
        yield RootPath(server.root_path)
    yield RequestId(core.clock)
    yield Log(core.clock, core.emit)
    if server.allowed_origins:
        yield Share(origins)  # outside of Errors, whose answers are read, too
    yield Errors()
    yield Limits()
    yield Hosts(hosts(server))
    if server.trusted_proxies:
        yield Proxies(server.trusted_proxies)
        yield Hosts(hosts(server))  # the name that the proxy was asked for
    yield OriginCheck(origins, table)
    yield Routing(table)  # before Drain, which lets public routes pass
    yield Drain(traffic)
    yield Guards(core.plugins)
    yield Admission(int(server.max_body_mb * 1_000_000))


def wrap(layers: Sequence[Layer], app: App) -> App:
    """One ASGI application of all the layers around `app`."""
    for layer in reversed(layers):
        app = partial(layer, then=app)
    return app
