"""Routes with a JSON body do without Quart, and nobody can tell by their answers."""

import asyncio
import json
from typing import Any

import pytest
from msgspec import Struct

from embedwell.errors import Draining, Forbidden, ModelNotFound, Overloaded
from embedwell.http.asgi import App, Message
from embedwell.http.dispatch import Dispatcher
from embedwell.http.middleware.drain import Traffic
from embedwell.http.middleware.stack import layers, wrap
from embedwell.http.quart_app import endpoint
from embedwell.http.routes import embeddings
from embedwell.http.table import RouteTable
from embedwell.interfaces.routes import Handler, Reply, Request, Route
from tests.core.http.fake_core import TAG, FakeCore, raising, route
from tests.core.http.http_driver import Connection, scope_of

HEADERS = [("content-type", "application/json"), ("x-request-id", "same")]
GOOD = {"model": TAG, "input": ["a", "b"]}


class Optional(Struct, frozen=True):
    name: str | None = None


def replies(reply: Reply) -> Handler:
    async def handler(request: Request) -> Reply:
        return reply

    return handler


async def cancels(request: Request) -> Reply:
    raise asyncio.CancelledError


async def slow(request: Request) -> Reply:
    await asyncio.Future[None]()
    raise AssertionError


HANDLERS: dict[str, Handler] = {
    "plain": replies(Reply(body={"é": 1})),
    "created": replies(Reply(body=b"raw", status=201, headers={"location": "/x", "x-a": "b"})),
    "text": replies(Reply(body=b"hello", content_type="text/plain")),
    "empty": replies(Reply(body=None, status=204)),
    "bug": raising(ValueError("a bug")),
    "exit": raising(SystemExit()),
    "cancels": cancels,
    "forbidden": raising(Forbidden("no")),
    "overloaded": raising(Overloaded("full", retry_after=3)),
    "missing": raising(ModelNotFound("nobody")),
    "slow": slow,
}


def app_of(direct: bool) -> App:
    core = FakeCore()
    core.embedder.truncated = (0, 1)
    own = [route(handler, "POST", f"/{name}", body=Optional) for name, handler in HANDLERS.items()]
    read = route(HANDLERS["plain"], "GET", "/read", body=Optional)
    routes: list[Route] = [*embeddings.routes(core), *own, read]
    traffic = Traffic()
    run = endpoint(
        routes,
        Dispatcher(core.server, core.clock, routes, traffic),
        traffic,
        *([] if direct else [lambda route: False]),
    )
    return wrap(layers(core, RouteTable(routes), traffic), run)


async def sent(app: App, method: str, path: str, body: bytes, given: Any) -> list[Message]:
    length = [("content-length", str(len(body)))] if body else []
    connection = Connection(app, scope_of(method, path, [*HEADERS, *length, *given]))
    connection.send(body)
    await connection.answer()
    return connection.sent


@pytest.mark.parametrize(
    ("method", "path", "body", "headers"),
    [
        ("POST", "/embeddings", GOOD, []),
        ("POST", "/embeddings/", {**GOOD, "encoding_format": "base64"}, []),
        ("HEAD", "/read", b"", []),
        ("GET", "/read?a=b", b"", []),
        ("POST", "/embeddings", {"input": "a"}, []),
        ("POST", "/embeddings", {"model": "nobody", "input": "a"}, []),
        ("POST", "/embeddings", b"[", []),
        ("POST", "/embeddings", b"", []),
        ("POST", "/embeddings", b"\xff", []),
        ("POST", "/embeddings?a=%ff", GOOD, []),
        ("POST", "/embeddings", GOOD, [("content-encoding", "gzip")]),
        ("POST", "/embeddings", GOOD, [("x-request-timeout", "soon")]),
        ("POST", "/slow", {}, [("x-request-timeout", "0.01")]),
        *(("POST", f"/{name}", {}, []) for name in HANDLERS if name != "slow"),
    ],
)
async def test_the_answer_is_that_of_quart(method: str, path: str, body: Any, headers: Any) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    own, *rest = await sent(app_of(True), method, path, content, headers)
    theirs, *others = await sent(app_of(False), method, path, content, headers)
    assert own == theirs
    assert b"".join(m["body"] for m in rest) == b"".join(m["body"] for m in others)
    assert len(rest) == 1
    assert len(others) >= len(rest)


async def test_quart_is_not_asked_for_a_json_body() -> None:
    """By its extra, empty piece at the end of every answer."""
    direct = await sent(app_of(True), "POST", "/plain", b"{}", [])
    through = await sent(app_of(False), "POST", "/plain", b"{}", [])
    assert (len(direct), len(through)) == (2, 3)


async def test_a_handler_that_swallows_its_cancellation_answers_nobody() -> None:
    begun = asyncio.Event()

    async def stubborn(request: Request) -> Reply:
        begun.set()
        try:
            await asyncio.Future[None]()
        except asyncio.CancelledError:
            return Reply(body={})
        raise AssertionError

    core = FakeCore()
    routes = [route(stubborn, "POST", body=Optional)]
    traffic = Traffic()
    run = endpoint(routes, Dispatcher(core.server, core.clock, routes, traffic), traffic)
    app = wrap(layers(core, RouteTable(routes), traffic), run)
    length = [("content-length", "2")]
    connection = Connection(app, scope_of("POST", "/test", [*HEADERS, *length]))
    connection.send(b"{}")
    async with asyncio.timeout(10):
        await begun.wait()
        connection.leave()
        await connection.task
    assert connection.sent == []
    assert connection.task.cancelling() == 0


async def test_a_cut_is_told_and_closes_the_connection() -> None:
    connection = Connection(
        app_of_raising(Draining("The server is stopping; try again")),
        scope_of("POST", "/test", [*HEADERS, ("content-length", "2")]),
    )
    connection.send(b"{}")
    answer = await connection.answer()
    assert (answer.status, answer.code) == (503, "DRAINING")
    assert answer.headers["connection"] == "close"


def app_of_raising(error: Exception) -> App:
    core = FakeCore()
    routes = [route(raising(error), "POST", body=Optional)]
    traffic = Traffic()
    run = endpoint(routes, Dispatcher(core.server, core.clock, routes, traffic), traffic)
    return wrap(layers(core, RouteTable(routes), traffic), run)
