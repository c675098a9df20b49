"""Connections that say nothing, say it slowly, are too many, or speak something else."""

import asyncio
import json
import resource
import socket
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from embedwell.interfaces.routes import Reply, Request
from embedwell.transport import connection
from embedwell.transport.server import MOST, RESERVE, bound, serve
from tests.core.http.fake_core import app_of, route
from tests.core.transport.listening_app import HEAD, Peer, listening_app


async def health(port: int) -> int:
    peer = await Peer.connect(port)
    await peer.send(HEAD + b"\r\n")
    status, _ = await peer.answer()
    peer.close()
    return status


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def settled(most: int) -> None:
    async with asyncio.timeout(5):
        while open_files() > most:
            await asyncio.sleep(0.01)


async def test_t32_a_client_that_leaves_holds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEAD_SECONDS", 600.0)
    async with listening_app(app_of(), most=1000) as port:
        assert await health(port) == 200
        before = open_files()
        for _ in range(20):
            peers = [await Peer.connect(port) for _ in range(10)]
            for peer in peers:
                peer.close()
        await settled(before)


async def test_t32_silent_connections_keep_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEAD_SECONDS", 600.0)
    async with listening_app(app_of(), most=20) as port:
        silent = [await Peer.connect(port) for _ in range(200)]
        assert await health(port) == 200
        assert await silent[0].closed() == b""
        assert await health(port) == 200
        for peer in silent:
            peer.close()


async def test_t29_a_head_that_drips_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEAD_SECONDS", 600.0)
    async with listening_app(app_of(), most=300) as port:
        other = await Peer.connect(port)
        await other.ask()
        monkeypatch.setattr(connection, "HEAD_SECONDS", 0.5)
        drippers = [await Peer.connect(port) for _ in range(200)]

        async def drip(peer: Peer) -> None:
            while not peer.reader.at_eof():
                peer.writer.write(b"G")
                await asyncio.sleep(0.05)

        dripping = [asyncio.ensure_future(drip(peer)) for peer in drippers]
        await other.ask()
        ends = [await peer.closed() for peer in drippers]
        assert set(ends) == {b""}
        for task in dripping:
            task.cancel()
        await asyncio.wait(dripping)
        other.close()


async def test_a_later_head_has_its_time_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEAD_SECONDS", 600.0)
    async with listening_app(app_of()) as port:
        peer = await Peer.connect(port)
        await peer.ask()
        monkeypatch.setattr(connection, "HEAD_SECONDS", 0.1)
        await peer.ask()
        await asyncio.sleep(0.3)  # at rest it may be longer
        await peer.ask()
        await peer.send(b"GET /hea")
        assert await peer.closed() == b""


async def test_a_connection_does_not_rest_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "KEEP_ALIVE_SECONDS", 0.2)
    async with listening_app(app_of()) as port:
        peer = await Peer.connect(port)
        await peer.send(HEAD + b"\r\n")
        assert (await peer.answer())[0] == 200
        assert await peer.closed() == b""


async def test_busy_connections_are_not_ended_for_new_ones(
    caplog: pytest.LogCaptureFixture,
) -> None:
    may_end, begun = asyncio.Event(), asyncio.Semaphore(0)

    async def wait(request: Request) -> Reply:
        begun.release()
        await may_end.wait()
        return Reply(body="done")

    async with listening_app(app_of(route(wait)), most=2) as port:
        busy = [await Peer.connect(port) for _ in range(2)]
        for peer in busy:
            await peer.send(HEAD.replace(b"/health", b"/test") + b"\r\n")
            await begun.acquire()
        for _ in range(3):
            refused = await Peer.connect(port)
            await refused.send(HEAD.replace(b"/health", b"/test") + b"\r\n")
            status, body = await refused.answer()
            assert (status, json.loads(body)["code"]) == (429, "OVERLOADED")
            assert await refused.closed() == b""
        may_end.set()
        assert [(await peer.answer())[0] for peer in busy] == [200, 200]
        assert await health(port) == 200  # one of the two rests, and makes room
        for peer in busy:
            peer.close()
    warnings = [r for r in caplog.records if r.name == "embedwell.transport"]
    assert [r.getMessage() for r in warnings] == [
        "all 2 connections are busy: more are refused with 429"
    ]


@pytest.mark.parametrize(
    ("sent", "status", "code", "detail"),
    [
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "BAD_REQUEST",
         "This server speaks HTTP/1.1 and HTTP/1.0"),
        (b"GET / HTTP/3.0\r\nHost: localhost\r\n\r\n", 400, "BAD_REQUEST",
         "This server speaks HTTP/1.1 and HTTP/1.0"),
        (b"GET /health HTTP/1.1\r\n\r\n", 400, "BAD_REQUEST",
         "The request is not valid HTTP/1.1"),
        (b"GET /\xc3\xa9 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, "BAD_REQUEST",
         "The request is not valid HTTP/1.1"),
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", 400, "BAD_REQUEST",
         "The request is not valid HTTP/1.1"),
        (HEAD + b"X: " + b"x" * 100_000, 431, "PAYLOAD_TOO_LARGE",
         "The headers are larger than 32,768 bytes together"),
    ],
)  # fmt: skip
async def test_t30_what_is_no_http_1_gets_the_envelope(
    sent: bytes, status: int, code: str, detail: str
) -> None:
    async with listening_app(app_of()) as port:
        peer = await Peer.connect(port)
        await peer.send(sent)
        given, body = await peer.answer()
        told = json.loads(body)
        assert (given, told["code"], told["detail"]) == (status, code, detail)
        assert await peer.closed() == b""
        assert await health(port) == 200


async def test_t30_a_wish_for_http_2_is_ignored() -> None:
    async with listening_app(app_of()) as port:
        peer = await Peer.connect(port)
        wish = (
            b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
        )
        for _ in range(2):
            await peer.send(HEAD + wish + b"\r\n")
            assert await peer.answer() == (200, b'{"status":"ok"}')
        peer.close()


async def test_a_body_that_breaks_http_is_refused_and_its_rest_not_run() -> None:
    async with listening_app(app_of()) as port:
        peer = await Peer.connect(port)
        head = b"POST /embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        await peer.send(head + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n" + HEAD + b"\r\n")
        assert (await peer.answer())[0] == 400
        assert await peer.closed() == b""


async def test_requests_sent_ahead_are_answered_in_turn() -> None:
    async with listening_app(app_of()) as port:
        peer = await Peer.connect(port)
        await peer.send((HEAD + b"\r\n") * 3)
        assert [(await peer.answer())[0] for _ in range(3)] == [200, 200, 200]
        peer.close()


async def test_the_end_waits_for_no_connection_at_rest() -> None:
    async with listening_app(app_of()) as port:
        peers = [await Peer.connect(port) for _ in range(3)]
        await peers[0].send(HEAD + b"\r\n")
        assert (await peers[0].answer())[0] == 200
    for peer in peers:
        assert await peer.closed() == b""


async def test_the_end_cuts_no_answer_short() -> None:
    answer = "x" * 60_000  # little enough to be written at once
    app = app_of(route(lambda request: answered(answer)))
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(30)
        async with AsyncExitStack() as stack:
            port = await stack.enter_async_context(listening_app(app, buffer=4096))
            client.connect(("127.0.0.1", port))
            client.sendall(HEAD.replace(b"/health", b"/test") + b"\r\n")
            first = await asyncio.to_thread(client.recv, 100)
            async with asyncio.timeout(30):
                while app.in_flight:
                    await asyncio.sleep(0.01)
            ending = asyncio.create_task(stack.aclose())
            for _ in range(20):
                await asyncio.sleep(0)
            rest = await asyncio.to_thread(rest_of, client)
            await ending
    assert (first + rest).endswith(b'x"')


async def answered(text: str) -> Reply:
    return Reply(body=text)


def rest_of(client: socket.socket) -> bytes:
    pieces = []
    while piece := client.recv(4096):
        pieces.append(piece)
    return b"".join(pieces)


@pytest.mark.parametrize(
    ("descriptors", "connections"),
    [(512, 512 - RESERVE), (65_536, MOST), (-1, MOST), (10, 1)],
)
def test_connections_leave_descriptors_for_files(descriptors: int, connections: int) -> None:
    assert bound(descriptors) == connections


async def test_t32_without_descriptors_it_goes_on_listening(
    caplog: pytest.LogCaptureFixture,
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    listener, stop = socket.create_server(("127.0.0.1", 0), backlog=100), asyncio.Event()
    port = listener.getsockname()[1]
    waiting = [socket.create_connection(("127.0.0.1", port)) for _ in range(60)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (open_files() + 10, hard))
    serving = asyncio.create_task(serve(app_of(), listener, stop))
    try:
        async with asyncio.timeout(30):
            while not any("no connection can be" in r.getMessage() for r in caplog.records):
                await asyncio.sleep(0.01)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert await health(port) == 200
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for client in waiting:
            client.close()
        stop.set()
        await serving
    assert len(caplog.records) < 10
