"""Bodies that stream: cut when the server drains, dropped while an answer goes out early."""

import asyncio
import itertools
import math

import pytest

from embedwell.app import create_app
from embedwell.config.schema import Server
from embedwell.errors import Overloaded
from embedwell.http.asgi import Message, Receive, Scope, Send
from embedwell.http.leftover import Leftover
from embedwell.http.middleware import drain
from embedwell.interfaces.plugins import Caller, Plugin, RequestHead
from embedwell.interfaces.routes import Mount, Reply, Request
from tests.core.http.fake_core import FakeCore, app_of, route
from tests.core.http.http_driver import Connection, ask, scope_of

JSON = [("content-type", "application/json")]
CHUNKED = [("transfer-encoding", "chunked")]


class Reading:
    """A handler that says when its body began, and how it ended."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.ended = False

    async def has_begun(self) -> None:
        async with asyncio.timeout(10):
            await self.begun.wait()

    async def handler(self, request: Request) -> Reply:
        try:
            async for _ in request.body:
                self.begun.set()
        finally:
            self.ended = True
        return Reply(body=request.timeout)


@pytest.fixture
def reading() -> Reading:
    return Reading()


async def test_draining_cuts_a_body_that_streams_at_once(reading: Reading) -> None:
    app = app_of(route(reading.handler, "POST", stream=True))
    connection = Connection(app, scope_of("POST", "/test", CHUNKED))
    connection.send(b"x", more=True)
    await reading.has_begun()
    app.begin_drain()
    answer = await connection.answer()
    assert (answer.status, answer.code) == (503, "DRAINING")
    assert answer.detail == "The server stopped before the request was done"
    assert reading.ended
    await app.drained()


async def test_draining_waits_a_moment_for_the_rest_of_a_body(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(drain, "BODY_SECONDS", 0.05)

    async def say(request: Request) -> Reply:
        return Reply(body=request.body)

    app = app_of(route(say, "POST", body=dict))
    ready, never = (
        Connection(app, scope_of("POST", "/test", [*JSON, ("content-length", "2")]))
        for _ in range(2)
    )
    for connection in (ready, never):
        connection.send(b"{", more=True)
    while app.in_flight < 2:
        await asyncio.sleep(0)
    app.begin_drain()
    ready.send(b"}")
    assert (await ready.answer()).status == 200
    answer = await never.answer()
    assert (answer.status, answer.code) == (503, "DRAINING")
    await app.drained()


async def test_a_mounted_application_is_cut_at_the_end_like_any_other(reading: Reading) -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        reading.begun.set()
        await asyncio.Event().wait()

    app = app_of(Mount(prefix="/m", app=application, access="manage"))
    connection = Connection(app, scope_of("GET", "/m"))
    connection.send(b"")
    await reading.has_begun()
    app.begin_drain()
    app.cut()
    answer = await connection.answer()
    assert (answer.status, answer.code) == (503, "DRAINING")
    await app.drained()


async def test_draining_lets_other_requests_end() -> None:
    may_end = asyncio.Event()

    async def wait(request: Request) -> Reply:
        await may_end.wait()
        return Reply(body=None)

    app = app_of(route(wait, "POST"))
    connection = Connection(app, scope_of("POST", "/test"))
    connection.send(b"")
    await asyncio.sleep(0)
    app.begin_drain()
    app.begin_drain()
    await asyncio.sleep(0)
    may_end.set()
    assert (await connection.answer()).status == 200


class Slow(Plugin):
    """A guard that takes its time."""

    def __init__(self) -> None:
        self.asked, self.may_answer = asyncio.Event(), asyncio.Event()

    async def guard(self, head: RequestHead) -> Caller | None:
        self.asked.set()
        await self.may_answer.wait()
        return None


async def test_a_stream_that_was_on_its_way_in_is_cut_too(reading: Reading) -> None:
    core, slow = FakeCore(route(reading.handler, "POST", stream=True)), Slow()
    core.plugins = [("slow", slow)]
    app = create_app(core)
    connection = Connection(app, scope_of("POST", "/test", CHUNKED))
    connection.send(b"x", more=True)
    await slow.asked.wait()
    app.begin_drain()
    slow.may_answer.set()
    assert (await connection.answer()).code == "DRAINING"
    await app.drained()


async def test_a_stream_is_not_bound_by_the_servers_deadline(reading: Reading) -> None:
    app = app_of(route(reading.handler, "POST", stream=True), server=Server(request_timeout=0.001))
    connection = Connection(app, scope_of("POST", "/test", CHUNKED))
    connection.send(b"x", more=True)
    await reading.has_begun()
    await asyncio.sleep(0.01)
    connection.send(b"x")
    assert (await connection.answer()).status == 200


async def test_a_stream_ends_with_the_deadline_of_its_client(reading: Reading) -> None:
    app = app_of(route(reading.handler, "POST", stream=True))
    head = [*CHUNKED, ("x-request-timeout", "0.01")]
    connection = Connection(app, scope_of("POST", "/test", head))
    connection.send(b"x", more=True)
    answer = await connection.answer()
    assert (answer.status, answer.code) == (504, "TIMEOUT")
    assert answer.detail == "The request did not finish within 0.01 seconds"
    assert reading.ended


class FullServer:
    """Its last act is one more message to the handler, for which there is no room yet."""

    def __init__(self, chunks: float) -> None:
        self.inbox: asyncio.Queue[Message] = asyncio.Queue(1)
        self.sent: list[Message] = []
        self.client = asyncio.ensure_future(self._upload(chunks))

    async def _upload(self, chunks: float) -> None:
        for number in itertools.count(1):
            message = {"type": "http.request", "body": b"x", "more_body": number < chunks}
            await self.inbox.put(message)

    async def send(self, message: Message) -> None:
        self.sent.append(message)
        if message["type"] == "http.response.body" and not message.get("more_body"):
            await self.inbox.put({"type": "http.disconnect"})
            self.client.cancel()


@pytest.mark.parametrize("chunks", [2, 1_000])
async def test_an_early_answer_gets_out_while_the_body_comes_in(chunks: int) -> None:
    async def refuse(request: Request) -> Reply:
        raise Overloaded("not now")

    server = FullServer(chunks)
    await asyncio.sleep(0)
    app = app_of(route(refuse, "POST", stream=True))
    async with asyncio.timeout(10):
        await app(scope_of("POST", "/test", CHUNKED), server.inbox.get, server.send)
    assert server.sent[0]["status"] == 429
    assert app.in_flight == 0
    assert asyncio.all_tasks() - {server.client} == {asyncio.current_task()}


async def test_the_same_holds_for_bodies_that_are_read_whole() -> None:
    server = FullServer(1_000)
    app = app_of(server=Server(max_body_mb=0.00001))
    head = [*CHUNKED, ("content-type", "application/json")]
    async with asyncio.timeout(10):
        await app(scope_of("POST", "/embeddings", head), server.inbox.get, server.send)
    assert server.sent[0]["status"] == 413


@pytest.mark.parametrize("seconds", [(0.0, 1.0), (1.0, 0.0)])
async def test_a_client_that_goes_on_for_ever_is_not_waited_for(
    seconds: tuple[float, float],
) -> None:
    server = FullServer(math.inf)
    longest, silence = seconds
    leftover = Leftover(server.inbox.get, server.send, longest=longest, silence=silence)
    async with asyncio.timeout(10):
        await leftover.send({"type": "http.response.start", "status": 429})
        await leftover.send({"type": "http.response.body", "body": b"no"})
        assert server.sent[-1] == {"type": "http.response.body", "body": b"no", "more_body": True}
        await leftover.finish()
    assert server.sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}


async def test_what_was_read_to_its_end_is_left_alone() -> None:
    inbox: asyncio.Queue[Message] = asyncio.Queue()
    inbox.put_nowait({"type": "http.request", "body": b"", "more_body": False})
    inbox.put_nowait({"type": "http.disconnect"})
    sent: list[Message] = []

    async def send(message: Message) -> None:
        await asyncio.sleep(0)
        sent.append(message)

    leftover = Leftover(inbox.get, send)
    await leftover.receive()
    await leftover.send({"type": "http.response.start", "status": 200})
    await leftover.send({"type": "http.response.body", "body": b"a", "more_body": True})
    await leftover.send({"type": "http.response.body", "body": b"b"})
    await leftover.finish()
    assert [message.get("more_body") for message in sent] == [None, True, None]
    assert inbox.qsize() == 1


async def test_a_stream_without_a_body_is_empty(reading: Reading) -> None:
    app = app_of(route(reading.handler, "POST", stream=True))
    assert (await ask(app, "POST", "/test")).status == 200
    assert not reading.begun.is_set()
