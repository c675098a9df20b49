"""The connections that are open: how many, who makes room, how they end."""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from functools import partial
from math import inf

import hypercorn
from hypercorn.asyncio.worker_context import WorkerContext
from msgspec import Struct

from embedwell.http.asgi import App
from embedwell.transport.accepting import Acceptor
from embedwell.transport.connection import Connection
from embedwell.transport.unread import Unread

log = logging.getLogger("embedwell.transport")

PROBE_PLACES = 64  # connections beyond the most; several times what is accepted at once
LEAST_SECONDS = 0.05  # that a connection has to say something, whoever else comes
HANDSHAKE_SECONDS = 10.0
GOODBYE_SECONDS = 3.0  # for a client to end TLS
LAST_SECONDS = 2.0  # for answers to arrive at the end; draining was before
WARN_SECONDS = 60.0

Task = asyncio.Task[None]


class Guest(Struct, frozen=True):
    """A connection that may be ended, and since when, on the loop's clock."""

    since: float
    end: Callable[[], object]


class Connections:
    """All that are open; loop only.

    Beyond `most` the one that has rested longest makes room; where none rests, the new one may
    only ask for a probe, in one of a few places where the oldest makes room. So silent connections,
    however many, keep nobody out, and busy ones no probe. Nobody is ended within LEAST_SECONDS:
    in a flood the next ones wait with the kernel so long.
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
        self.resting: dict[Task, Guest] = {}  # longest first
        self._most = most
        self._open: set[Task] = set()
        self._probing: dict[Task, Guest] = {}  # oldest first
        self._tasks: set[Task] = set()
        self._silent_until: dict[str, float] = {}
        self._loop = asyncio.get_running_loop()
        self._acceptor = Acceptor(listener, self._take, self._wait, self._starved)

    def rests(self, task: Task, end: Callable[[], object]) -> None:
        """It is waited for, and may be ended for another, until it leaves `resting` by itself."""
        self.resting[task] = Guest(self._loop.time(), end)

    async def aclose(self) -> None:
        """Ends those that rest, then, after LAST_SECONDS, all."""
        self._acceptor.close()
        await self.context.terminated.set()
        while self._make_room(self.resting):
            pass
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=LAST_SECONDS)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self.unread.close()

    def _wait(self) -> float:
        """Seconds until there is a place for one more, if only for a probe."""
        if len(self._open) < self._most or len(self._probing) < PROBE_PLACES:
            return 0.0
        return min(self._until_ripe(self.resting), self._until_ripe(self._probing))

    def _until_ripe(self, guests: dict[Task, Guest]) -> float:
        """Seconds until the oldest of them may be ended."""
        oldest = next(iter(guests.values()), None)
        return inf if oldest is None else oldest.since + LEAST_SECONDS - self._loop.time()

    def _take(self, client: socket.socket) -> None:
        crowded = len(self._open) >= self._most and self._until_ripe(self.resting) > 0
        if len(self._open) >= self._most and not crowded:
            self._make_room(self.resting)
        task = self._loop.create_task(self._serve(client, crowded))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        cancel = partial(self._loop.call_soon, task.cancel)  # not before it has begun
        if crowded:
            self._crowd(task, cancel)
        else:
            self._open.add(task)
            self.rests(task, cancel)

    def _crowd(self, task: Task, end: Callable[[], object]) -> None:
        self._warn("all %d connections are busy: more are refused with 429", self._most)
        if len(self._probing) >= PROBE_PLACES:
            self._make_room(self._probing)
        self._probing[task] = Guest(self._loop.time(), end)

    def _starved(self, why: str) -> None:
        self._make_room(self.resting)
        self._warn("no connection can be accepted: %s", why)

    async def _serve(self, client: socket.socket, crowded: bool) -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            connection = await self._connect(client, task, crowded)
            if crowded:
                self._probing[task] = Guest(self._loop.time(), connection.give_way)
            await connection.run()
        except OSError:
            pass  # it broke off, or spoke no TLS
        except Exception:
            self._warn("a connection failed", trace=True)
        finally:
            self._open.discard(task)
            self._probing.pop(task, None)

    async def _connect(self, client: socket.socket, task: Task, crowded: bool) -> Connection:
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

    def _make_room(self, guests: dict[Task, Guest]) -> bool:
        oldest = next(iter(guests), None)
        if oldest is None:
            return False
        self._open.discard(oldest)
        guests.pop(oldest).end()
        return True

    def _warn(self, text: str, *values: object, trace: bool = False) -> None:
        """Each of a few texts once a minute, whatever else was said meanwhile."""
        now = self._loop.time()
        if now >= self._silent_until.get(text, 0.0):
            self._silent_until[text] = now + WARN_SECONDS
            log.warning(text, *values, exc_info=trace)


def _settings() -> hypercorn.Config:
    settings = hypercorn.Config()
    settings.h11_max_incomplete_size = 64 * 1024  # beyond our own limits, which decide then
    settings.include_server_header = False
    settings.accesslog = None
    settings.errorlog = logging.getLogger("hypercorn.error")
    return settings
