"""The connections that are open: how many, who makes room, how they end."""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable

import hypercorn
from hypercorn.asyncio.worker_context import WorkerContext

from embedwell.http.asgi import App
from embedwell.transport.accepting import Acceptor
from embedwell.transport.connection import Connection
from embedwell.transport.unread import Unread

log = logging.getLogger("embedwell.transport")

PROBE_PLACES = 64  # connections beyond the most; several times what is accepted at once
HANDSHAKE_SECONDS = 10.0
GOODBYE_SECONDS = 3.0  # for a client to end TLS
LAST_SECONDS = 2.0  # for answers to arrive at the end; draining was before
WARN_SECONDS = 60.0

Task = asyncio.Task[None]


class Connections:
    """All that are open; loop only.

    Beyond `most` the one that has rested longest makes room; where none rests, the new one may
    only ask for a probe, in one of a few places where the oldest makes room. So silent connections,
    however many, keep nobody out, and busy ones no probe.
    """

    def __init__(
        self,
        app: App,
        listener: socket.socket,
        tls: ssl.SSLContext | None,
        most: int,
        stopping: asyncio.Event,
    ) -> None:
        self.app = app
        self.settings = _settings()
        self.context = WorkerContext(None)
        self.tls = tls
        self.unread = Unread(stopping, self._warn)
        self.resting: dict[Task, Callable[[], object]] = {}  # longest first; how to end them
        self._most = most
        self._open: set[Task] = set()
        self._probing: dict[Task, Callable[[], object]] = {}  # oldest first; how to end them
        self._tasks: set[Task] = set()
        self._silent_until = 0.0
        self._loop = asyncio.get_running_loop()
        self._acceptor = Acceptor(listener, self._take, self._starved)

    async def aclose(self) -> None:
        """Ends those that rest, then, after LAST_SECONDS, all."""
        self._acceptor.close()
        await self.context.terminated.set()
        while self._make_room():
            pass
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=LAST_SECONDS)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self.unread.close()

    def _take(self, client: socket.socket) -> None:
        task = self._loop.create_task(self._serve(client))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _starved(self, why: str) -> None:
        self._make_room()
        self._warn(f"no connection can be accepted: {why}")

    async def _serve(self, client: socket.socket) -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            if len(self._open) < self._most or self._make_room():
                self._open.add(task)
                await (await self._connect(client, task)).run()
            else:
                await self._probe(client, task)
        except OSError:
            pass  # it broke off, or spoke no TLS
        except Exception:
            self._warn("a connection failed", trace=True)
        finally:
            self._open.discard(task)

    async def _probe(self, client: socket.socket, task: Task) -> None:
        self._warn(f"all {self._most} connections are busy: more are refused with 429")
        if len(self._probing) >= PROBE_PLACES:
            self._probing.pop(next(iter(self._probing)))()
        self._probing[task] = task.cancel
        try:
            connection = await self._connect(client, task, crowded=True)
            self._probing[task] = connection.give_way
            await connection.run()
        finally:
            self._probing.pop(task, None)

    async def _connect(
        self, client: socket.socket, task: Task, *, crowded: bool = False
    ) -> Connection:
        if not crowded:
            self.resting[task] = task.cancel
        try:
            return Connection(self, task, *await self._streams(client), crowded=crowded)
        except BaseException:
            client.close()
            raise
        finally:
            self.resting.pop(task, None)

    async def _streams(
        self, client: socket.socket
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        client.setblocking(False)
        if client.family != socket.AF_UNIX:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        times = {}
        if self.tls is not None:
            times["ssl_handshake_timeout"] = HANDSHAKE_SECONDS
            times["ssl_shutdown_timeout"] = GOODBYE_SECONDS
        transport, _ = await self._loop.connect_accepted_socket(
            lambda: protocol, client, ssl=self.tls, **times
        )
        return reader, asyncio.StreamWriter(transport, protocol, reader, self._loop)

    def _make_room(self) -> bool:
        oldest = next(iter(self.resting), None)
        if oldest is None:
            return False
        self._open.discard(oldest)
        self.resting.pop(oldest)()
        return True

    def _warn(self, text: str, *, trace: bool = False) -> None:
        now = self._loop.time()
        if now >= self._silent_until:
            self._silent_until = now + WARN_SECONDS
            log.warning(text, exc_info=trace)


def _settings() -> hypercorn.Config:
    settings = hypercorn.Config()
    settings.h11_max_incomplete_size = 64 * 1024  # beyond our own limits, which decide then
    settings.include_server_header = False
    settings.accesslog = None
    settings.errorlog = logging.getLogger("hypercorn.error")
    return settings
