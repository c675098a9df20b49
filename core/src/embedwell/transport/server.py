"""Accepts connections, as many as the process has descriptors for, and ends them."""

import asyncio
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

import hypercorn
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.asyncio.worker_context import WorkerContext

from embedwell.transport.connection import Connection
from embedwell.transport.sockets import BACKLOG

log = logging.getLogger("embedwell.transport")

MOST = 8192  # connections; each takes about 10 KB
RESERVE = 192  # descriptors for files and for connections that are accepted and not yet counted
HANDSHAKE_SECONDS = 10.0
GOODBYE_SECONDS = 3.0  # for a client to end TLS
LAST_SECONDS = 1.0  # for what is under way at the end; draining was before
WARN_SECONDS = 60.0

Asgi = Callable[[Any, Any, Any], Awaitable[None]]


def bound(descriptors: int) -> int:
    """Connections at once in a process that may have so many descriptors; negative: any number."""
    return MOST if descriptors < 0 else max(1, min(MOST, descriptors - RESERVE))


async def serve(
    app: Asgi,
    listener: socket.socket,
    close: asyncio.Event,
    *,
    tls: ssl.SSLContext | None = None,
    most: int = MOST,
) -> None:
    """Serves until `close` is set; then requests under way have a second. Loop only."""
    connections = Connections(app, most, tls=tls is not None)
    start: Any = asyncio.start_server
    if listener.family == socket.AF_UNIX:
        start = asyncio.start_unix_server
    times: dict[str, float] = {}
    if tls is not None:
        times = {
            "ssl_handshake_timeout": HANDSHAKE_SECONDS,
            "ssl_shutdown_timeout": GOODBYE_SECONDS,
        }
    server = await start(connections.accept, sock=listener, backlog=BACKLOG, ssl=tls, **times)
    try:
        await close.wait()
    finally:
        server.close()
        await connections.aclose()


class Connections:
    """All that are open; loop only.

    Beyond `most` the one that has rested longest makes room; where none rests, the new one is
    refused. So silent connections, however many, keep nobody out.
    """

    def __init__(self, app: Asgi, most: int, *, tls: bool) -> None:
        self.app = ASGIWrapper(app)  # type: ignore[arg-type]
        self.settings = _settings()
        self.context = WorkerContext(None)
        self.tls = tls
        self.resting: dict[Connection, None] = {}  # longest first
        self._most = most
        self._open: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._silent_until = 0.0

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serves one connection to its end."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        connection = Connection(self, reader, writer)
        try:
            await self._run(connection)
        except Exception:
            log.exception("a connection failed")
        finally:
            self._open.discard(connection)
            self._tasks.discard(task)

    async def aclose(self) -> None:
        """Ends those that rest, then, after a second, all."""
        await self.context.terminated.set()
        for connection in list(self.resting):
            connection.end()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=LAST_SECONDS)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _run(self, connection: Connection) -> None:
        if len(self._open) >= self._most and not self._make_room():
            self._warn()
            await connection.refuse()
        else:
            self._open.add(connection)
            await connection.run()

    def _make_room(self) -> bool:
        oldest = next(iter(self.resting), None)
        if oldest is None:
            return False
        oldest.end()
        self._open.discard(oldest)
        return True

    def _warn(self) -> None:
        now = asyncio.get_running_loop().time()
        if now >= self._silent_until:
            self._silent_until = now + WARN_SECONDS
            log.warning("all %d connections are busy: more are refused with 429", self._most)


def _settings() -> hypercorn.Config:
    settings = hypercorn.Config()
    settings.h11_max_incomplete_size = 16 * 1024
    settings.include_server_header = False
    settings.accesslog = None
    settings.errorlog = logging.getLogger("hypercorn.error")
    return settings
