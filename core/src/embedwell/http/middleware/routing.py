"""Finds the Route or Mount of a request before anything of its body is read."""

from embedwell.http.asgi import App, Receive, Scope, Send, header_map, target
from embedwell.http.context import exchange
from embedwell.http.table import RouteTable
from embedwell.interfaces.plugins import RequestHead


class Routing:
    """Sets the Exchange's match and head; raises NotFound, MethodNotAllowed, BadRequest."""

    def __init__(self, table: RouteTable) -> None:
        self._table = table

    async def __call__(self, scope: Scope, receive: Receive, send: Send, then: App) -> None:
        state = exchange(scope)
        if scope["type"] == "websocket":
            match = self._table.mounted(target(scope))
        else:
            match = self._table.find(state.method, target(scope))
        state.match = match
        client = scope.get("client")
        state.head = RequestHead(
            method=state.method,
            path=match.path,
            headers=header_map(scope["headers"]),
            client=client[0] if client else "",
            access=match.access,
        )
        await then(scope, receive, send)
