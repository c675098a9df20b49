"""The request's id: accepted or made, and set on the answer."""

import random
import re
from collections.abc import Callable

from embedwell.http.asgi import App, Message, Receive, Scope, Send, target, values
from embedwell.http.context import KEY, Exchange

WELL_FORMED = re.compile(rb"[A-Za-z0-9._-]{1,128}")
NAME = b"x-request-id"
# Ids are no secrets. Asking the system for them gives up the interpreter's lock, and waits for it.
_dice = random.Random()  # noqa: S311 - see above
STARTS = ("http.response.start", "websocket.accept", "websocket.http.response.start")


class RequestId:
    """Outermost: opens the Exchange, and watches its beginning, answer and end."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send, then: App) -> None:
        exchange = Exchange(
            request_id=_id(scope),
            method=scope.get("method", "GET"),
            started=self._clock(),
            v1=target(scope).startswith(b"/v1/"),
        )
        inner = {**scope, KEY: exchange}
        await then(inner, _watching(exchange, receive), _answering(exchange, send))


def _id(scope: Scope) -> str:
    given = values(scope, NAME)
    if len(given) == 1 and WELL_FORMED.fullmatch(given[0]):
        return given[0].decode()
    return new_id()


def new_id() -> str:
    """One that no other request has."""
    return f"req-{_dice.getrandbits(96):024x}"


def _watching(exchange: Exchange, receive: Receive) -> Receive:
    async def watch() -> Message:
        message = await receive()
        if message["type"] in ("http.disconnect", "websocket.disconnect"):
            exchange.gone = True
        return message

    return watch


def _answering(exchange: Exchange, send: Send) -> Send:
    mark = (NAME, exchange.request_id.encode())

    async def answer(message: Message) -> None:
        if message["type"] in STARTS:
            exchange.status = message.get("status", 101)
            headers = [h for h in message.get("headers", ()) if h[0].lower() != NAME]
            message = {**message, "headers": [*headers, mark]}
        elif message["type"] == "http.response.body" and exchange.method == "HEAD":
            message = {**message, "body": b""}
        await send(message)

    return answer
