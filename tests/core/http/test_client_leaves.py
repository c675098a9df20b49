"""A client that leaves cancels its handler: inside Quart, in a Mount, while reading, while held."""

import asyncio
from typing import Any

import pytest

from embedwell.app import App, create_app
from embedwell.http.asgi import Receive, Scope, Send
from embedwell.interfaces.events import RequestFinished
from embedwell.interfaces.plugins import Caller, Plugin, RequestHead
from embedwell.interfaces.routes import Mount, Reply, Request
from tests.core.http.fake_core import FakeCore, route
from tests.core.http.http_driver import Connection, scope_of

JSON = [("content-type", "application/json")]


class Waiting:
    """Something that never ends by itself, and says when it began and was cancelled."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.cancelled = False

    async def forever(self) -> None:
        self.begun.set()
        try:
            await asyncio.Future[None]()
        except asyncio.CancelledError:
            self.cancelled = True
            raise

    async def handler(self, request: Request) -> Reply:
        await self.forever()
        raise AssertionError

    async def application(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.forever()


@pytest.fixture
def waiting() -> Waiting:
    return Waiting()


async def leave(core: FakeCore, connection: Connection, waiting: Waiting) -> None:
    async with asyncio.timeout(10):
        await waiting.begun.wait()
        connection.leave()
        await connection.task
    assert waiting.cancelled
    assert connection.sent == []
    (event,) = core.events
    assert isinstance(event, RequestFinished)
    assert event.status == 499


async def test_in_a_route_without_a_body(waiting: Waiting) -> None:
    core = FakeCore(route(waiting.handler))
    connection = Connection(create_app(core), scope_of("GET", "/test"))
    connection.send(b"")
    await leave(core, connection, waiting)


async def test_in_a_route_that_has_read_its_body(waiting: Waiting) -> None:
    core = FakeCore(route(waiting.handler, "POST", body=dict))
    scope = scope_of("POST", "/test", [*JSON, ("content-length", "2")])
    connection = Connection(create_app(core), scope)
    connection.send(b"{}")
    await leave(core, connection, waiting)


async def test_in_an_application_outside_quart(waiting: Waiting) -> None:
    core = FakeCore(Mount(prefix="/m", app=waiting.application, access="manage"))
    connection = Connection(create_app(core), scope_of("GET", "/m"))
    connection.send(b"")
    await leave(core, connection, waiting)


async def test_in_an_application_that_has_read_its_body(waiting: Waiting) -> None:
    bodies = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        bodies.append(await receive())
        await waiting.forever()

    core = FakeCore(Mount(prefix="/m", app=application, access="manage"))
    scope = scope_of("POST", "/m", [("content-length", "2")])
    connection = Connection(create_app(core), scope)
    connection.send(b"ab")
    await leave(core, connection, waiting)
    assert [message["body"] for message in bodies] == [b"ab"]


async def test_in_an_application_that_listens_for_it() -> None:
    heard: list[str] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            while True:
                heard.append((await receive())["type"])
        except asyncio.CancelledError:
            heard.append("cancelled")
            raise

    core = FakeCore(Mount(prefix="/m", app=application, access="manage"))
    connection = Connection(create_app(core), scope_of("GET", "/m"))
    connection.send(b"")
    connection.leave()
    async with asyncio.timeout(10):
        await connection.task
    assert heard[0] == "http.request"
    assert heard[-1] == "cancelled"


@pytest.mark.parametrize("stream", [False, True])
async def test_while_its_body_is_read(stream: bool) -> None:
    ended: list[str] = []

    async def read(request: Request) -> Reply:
        try:
            async for _ in request.body:
                ended.append("piece")
        finally:
            ended.append("cleaned up")
        return Reply(body=None)

    core = FakeCore(route(read, "POST", stream=stream, body=None if stream else dict))
    scope = scope_of("POST", "/test", [*JSON, ("content-length", "100")])
    connection = Connection(create_app(core), scope)
    connection.send(b"{", more=True)
    connection.leave()
    async with asyncio.timeout(10):
        await connection.task
    assert ended == (["piece", "cleaned up"] if stream else [])
    assert connection.sent == []


async def test_a_server_that_stops_cancels_the_handler_before_it_goes_on(
    waiting: Waiting,
) -> None:
    app: App = create_app(FakeCore(route(waiting.handler)))
    connection = Connection(app, scope_of("GET", "/test"))
    connection.send(b"")
    await waiting.begun.wait()
    connection.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await connection.task
    assert waiting.cancelled
    assert app.in_flight == 0


async def test_a_server_that_stops_at_once_starts_no_handler(waiting: Waiting) -> None:
    app = create_app(FakeCore(route(waiting.handler)))
    for turns in range(8):
        connection = Connection(app, scope_of("GET", "/test"))
        for _ in range(turns):
            await asyncio.sleep(0)
        connection.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connection.task
    assert app.in_flight == 0
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_handler_that_cancels_itself_is_a_bug() -> None:
    async def cancels(request: Request) -> Reply:
        raise asyncio.CancelledError

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        raise asyncio.CancelledError

    mount = Mount(prefix="/m", app=application, access="manage")
    app = create_app(FakeCore(route(cancels), mount))
    for path in ("/test", "/m"):
        connection = Connection(app, scope_of("GET", path))
        connection.send(b"")
        assert (await connection.answer()).code == "INTERNAL"


async def test_a_body_nobody_asked_for_is_dropped(waiting: Waiting) -> None:
    core = FakeCore(route(waiting.handler))
    scope = scope_of("GET", "/test", [("transfer-encoding", "chunked")])
    connection = Connection(create_app(core), scope)
    for _ in range(10):
        connection.send(b"x", more=True)
    await leave(core, connection, waiting)


async def test_permits_come_back_after_clients_left(waiting: Waiting) -> None:
    class Names(Plugin):
        def __init__(self) -> None: ...

        async def guard(self, head: RequestHead) -> Caller | None:
            return Caller("alice")

    core = FakeCore(route(waiting.handler))
    core.plugins = [("names", Names())]
    app: Any = create_app(core)
    connection = Connection(app, scope_of("GET", "/test"))
    connection.send(b"")
    await leave(core, connection, waiting)
    assert app.in_flight == 0
    await app.drained()
