"""The order of the layers, in one list."""

from collections.abc import Sequence
from functools import partial
from typing import Protocol

from embedwell.http.asgi import App, Receive, Scope, Send
from embedwell.http.core import Core
from embedwell.http.middleware.admission import Admission
from embedwell.http.middleware.drain import Drain, Traffic
from embedwell.http.middleware.errors import Errors
from embedwell.http.middleware.guards import Guards
from embedwell.http.middleware.limits import Limits
from embedwell.http.middleware.log import Log
from embedwell.http.middleware.request_id import RequestId
from embedwell.http.middleware.routing import Routing
from embedwell.http.table import RouteTable


class Layer(Protocol):
    """Sees a request on its way in and its answer on its way out."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send, then: App) -> None: ...


def layers(core: Core, table: RouteTable, traffic: Traffic) -> Sequence[Layer]:
    """Outermost first: everything before Admission is decided without a byte of the body."""
    return (
        RequestId(core.clock),
        Log(core.clock, core.emit),
        Errors(),
        Limits(),
        Routing(table),  # before Drain, which lets public routes pass
        Drain(traffic),
        Guards(core.plugins),
        Admission(int(core.server.max_body_mb * 1_000_000)),
    )


def wrap(layers: Sequence[Layer], app: App) -> App:
    """One ASGI application of all the layers around `app`."""
    for layer in reversed(layers):
        app = partial(layer, then=app)
    return app
