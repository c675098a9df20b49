"""Accepts connections, as many as the process has descriptors for, and ends them."""

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

import hypercorn
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.asyncio.worker_context import WorkerContext

from embedwell.transport.connection import Connection

log = logging.getLogger("embedwell.transport")

MOST = 8192  # connections; each takes about 10 KB
RESERVE = 192  # descriptors for files, and for connections that are about to be closed
AT_ONCE = 64  # accepted before anything else has its turn
HANDSHAKE_SECONDS = 10.0
GOODBYE_SECONDS = 3.0  # for a client to end TLS
LAST_SECONDS = 2.0  # for answers to arrive at the end; draining was before
PAUSE_SECONDS = 0.1  # without descriptors
WARN_SECONDS = 60.0
EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

Asgi = Callable[[Any, Any, Any], Awaitable[None]]
Task = asyncio.Task[None]


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
    """Serves until `close` is set; answers then have LAST_SECONDS. Closes the listener."""
    connections = Connections(app, listener, tls, most)
    try:
        await close.wait()
    finally:
        await connections.aclose()


class Connections:
    """All that are open; loop only.

    Beyond `most` the one that has rested longest makes room; where none rests, the new one is
    refused. So silent connections, however many, keep nobody out. They are accepted here, since
    uvloop gives up listening, and says nothing, when it runs out of descriptors.
    """

    def __init__(
        self, app: Asgi, listener: socket.socket, tls: ssl.SSLContext | None, most: int
    ) -> None:
        self.app = ASGIWrapper(app)
        self.settings = _settings()
        self.context = WorkerContext(None)
        self.tls = tls
        self.resting: dict[Task, Callable[[], object]] = {}  # longest first; how to end them
        self._most = most
        self._open: set[Task] = set()
        self._tasks: set[Task] = set()
        self._silent_until = 0.0
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._pause: asyncio.TimerHandle | None = None
        listener.setblocking(False)
        self._listen()

    async def aclose(self) -> None:
        """Ends those that rest, then, after LAST_SECONDS, all."""
        self._loop.remove_reader(self._listener)
        if self._pause is not None:
            self._pause.cancel()
        self._listener.close()
        await self.context.terminated.set()
        while self._make_room():
            pass
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=LAST_SECONDS)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _listen(self) -> None:
        self._loop.add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        for _ in range(AT_ONCE):
            try:
                client, _ = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in EXHAUSTED:
                    self._wait_for_descriptors(error)
                    return
                continue  # that client has left again
            task = self._loop.create_task(self._serve(client))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _wait_for_descriptors(self, error: OSError) -> None:
        self._loop.remove_reader(self._listener)
        self._pause = self._loop.call_later(PAUSE_SECONDS, self._listen)
        self._make_room()
        self._warn(f"no connection can be accepted: {error.strerror}")

    async def _serve(self, client: socket.socket) -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            if len(self._open) < self._most or self._make_room():
                self._open.add(task)
                await (await self._connect(client, task)).run()
            else:
                await self._refuse(client, task)
        except OSError:
            pass  # it broke off, or spoke no TLS
        except Exception:
            self._warn("a connection failed", trace=True)
        finally:
            self._open.discard(task)

    async def _refuse(self, client: socket.socket, task: Task) -> None:
        self._warn(f"all {self._most} connections are busy: more are refused with 429")
        if self.tls is None:
            await (await self._connect(client, task)).refuse()
        else:  # saying so would cost more than serving
            client.close()

    async def _connect(self, client: socket.socket, task: Task) -> Connection:
        if task in self._open:
            self.resting[task] = task.cancel
        try:
            return Connection(self, task, *await self._streams(client))
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
