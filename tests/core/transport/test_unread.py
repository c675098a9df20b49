"""Clients that do not read their answers: cut for others' sake, and when the server stops."""

import asyncio
import socket

import pytest

from embedwell.interfaces.routes import Reply, Request
from embedwell.transport import unread
from tests.core.http.fake_core import app_of, route
from tests.core.transport.listening_app import HEAD, SECONDS, listening_app

ANSWER = 4_000_000  # bytes
KERNEL = 65_536  # bytes that either side's kernel is asked to hold at most; it takes more
PAUSE = 0.02


async def answered(request: Request) -> Reply:
    return Reply(body=b"x" * ANSWER, content_type="text/plain")


class Client:
    """Asks for one answer, and reads as it is told."""

    def __init__(self, port: int) -> None:
        self.read = 0
        self._loop = asyncio.get_running_loop()
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, KERNEL)
        self._socket.connect(("127.0.0.1", port))
        self._socket.setblocking(False)

    async def ask(self) -> None:
        """Returns once the answer has begun."""
        await self._loop.sock_sendall(self._socket, HEAD.replace(b"/health", b"/test") + b"\r\n")
        assert await self.some()

    async def some(self, size: int = 4096) -> bool:
        """Whether there was something to read."""
        try:
            data = await asyncio.wait_for(self._loop.sock_recv(self._socket, size), SECONDS)
        except ConnectionResetError:
            return False
        self.read += len(data)
        return bool(data)

    async def all(self) -> bool:
        """Whether the whole answer comes."""
        while self.read < ANSWER and await self.some(KERNEL):
            pass
        return self.read >= ANSWER

    def close(self) -> None:
        self._socket.close()


async def test_t79_while_stopping_only_who_reads_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(unread, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(unread, "STOPPING_SECONDS", 2.0)
    app, stopping = app_of(route(answered)), asyncio.Event()
    async with listening_app(app, buffer=KERNEL, stopping=stopping) as port:
        idle, slow = Client(port), Client(port)
        await idle.ask()
        await slow.ask()
        assert app.in_flight == 2
        stopping.set()
        async with asyncio.timeout(SECONDS):
            while app.in_flight == 2:
                assert await slow.some()
                await asyncio.sleep(PAUSE)
        assert await slow.all()
        await asyncio.wait_for(app.drained(), SECONDS)
        assert not await idle.all()
        idle.close()
        slow.close()
    told = [r.getMessage() for r in caplog.records if r.name == "embedwell.transport"]
    assert told == ["connections cut whose clients do not read: 1"]


async def test_beyond_the_most_bytes_who_has_read_nothing_for_longest_is_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(unread, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(unread, "STALLED_SECONDS", 0.5)
    monkeypatch.setattr(unread, "MOST_BYTES", 5 * ANSWER // 2)
    app = app_of(route(answered))
    async with listening_app(app, buffer=KERNEL) as port:
        clients = [Client(port) for _ in range(3)]
        first, *others = clients
        await first.ask()
        for client in others:
            await asyncio.sleep(1.0)
            await client.ask()
        assert [await client.all() for client in others] == [True, True]
        assert not await first.all()
        for client in clients:
            client.close()


async def test_within_the_most_bytes_nobody_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unread, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(unread, "STALLED_SECONDS", 0.1)
    async with listening_app(app_of(route(answered)), buffer=KERNEL) as port:
        client = Client(port)
        await client.ask()
        await asyncio.sleep(0.5)
        assert await client.all()
        client.close()
