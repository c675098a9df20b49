"""One client's connection: reads, writes, and how long it may do nothing."""

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from hypercorn.asyncio.task_group import TaskGroup
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.typing import ConnectionState
from hypercorn.utils import parse_socket_addr

from embedwell.http.asgi import CROWDED
from embedwell.transport.protocol import Http1
from embedwell.transport.unread import Outgoing

if TYPE_CHECKING:
    from embedwell.transport.connections import Connections

HEAD_SECONDS = 10.0  # for a request's head from its first byte; a new connection's from the start
PROBE_SECONDS = 1.0  # the same for a connection too many
KEEP_ALIVE_SECONDS = 75.0  # between requests: longer than clients and proxies keep theirs
WRITE_SECONDS = 120.0  # for a client to take what is written at once
CLOSE_SECONDS = 30.0  # for a client to take the rest of its answer
MOST_BYTES = 65_536  # of one read


class Connection:
    """Serves one request after the other; loop only.

    Unlike Hypercorn's own it ends as soon as its client has left, gives a head a time of its own,
    and rests with a timer instead of a task.
    """

    def __init__(
        self,
        home: "Connections",
        task: "asyncio.Task[None]",
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        crowded: bool,
    ) -> None:
        """`crowded` is one too many: it may ask for a probe, then it ends."""
        self._home, self._task, self._crowded = home, task, crowded
        self._reader, self._writer = reader, writer
        self._outgoing = Outgoing(home.unread, writer)
        self._loop = asyncio.get_running_loop()
        self._sending = asyncio.Lock()
        self._timer: asyncio.TimerHandle | None = None
        self._aborting: asyncio.TimerHandle | None = None
        self._head_begun = False

    async def run(self) -> None:
        """Returns when the client has left, broke HTTP, or rested for too long."""
        try:
            async with TaskGroup(self._loop) as group:
                self._protocol = self._speak(group)
                self._rest(PROBE_SECONDS if self._crowded else HEAD_SECONDS)
                self._head_begun = True
                await self._read()
        finally:
            await self._finish()

    def end(self) -> None:
        """Close it where it rests, once its client has what it was answered."""
        if self._crowded:
            self.give_way()
        elif self._writer.transport.get_write_buffer_size():
            self._shut()
        else:
            self._wake()
            self._writer.transport.abort()

    def give_way(self) -> None:
        """Close it; a client that has not asked for anything is told why."""
        if self._timer is None:
            self._writer.transport.abort()
        else:
            with suppress(OSError, RuntimeError):  # it has left already
                self._writer.write(self._protocol.too_many())
            self._shut()

    def _speak(self, group: TaskGroup) -> Http1:
        socket = self._writer.get_extra_info("socket")
        return Http1(
            self._home.app,
            self._home.settings,
            self._home.context,
            group,
            ConnectionState({CROWDED: True} if self._crowded else {}),
            self._home.tls is not None,
            _address(socket.family, self._writer.get_extra_info("peername")),
            _address(socket.family, self._writer.get_extra_info("sockname")),
            self._handle,
        )

    async def _read(self) -> None:
        while not self._reader.at_eof():
            try:
                data = await self._reader.read(MOST_BYTES)
            except OSError:  # of a connection that broke, or of TLS
                break
            if self._aborting is not None:
                break  # whoever it was for is gone
            await self._protocol.handle(RawData(data))
            if self._timer is not None and not self._head_begun:
                self._rest(HEAD_SECONDS)
                self._head_begun = True
        await self._protocol.handle(Closed())

    async def _handle(self, event: Event) -> None:
        if isinstance(event, RawData):
            await self._write(event.data)
        elif isinstance(event, Closed):
            self._shut()
        elif isinstance(event, Updated) and event.idle:
            self._rest(KEEP_ALIVE_SECONDS)
        elif isinstance(event, Updated):
            self._wake()

    async def _write(self, data: bytes) -> None:
        if not data:
            return
        async with self._sending:
            try:
                async with asyncio.timeout(WRITE_SECONDS):
                    await self._outgoing.write(data)
            except TimeoutError:  # the client does not read: it may not hold the request for ever
                self._writer.transport.abort()
                await self._protocol.handle(Closed())
            except (OSError, RuntimeError):  # RuntimeError: it is closed already
                await self._protocol.handle(Closed())

    def _rest(self, seconds: float) -> None:
        self._wake()
        self._head_begun = False
        self._timer = self._loop.call_later(seconds, self.end)
        if not self._crowded:
            self._home.rests(self._task, self.end)

    def _wake(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._home.resting.pop(self._task, None)

    def _shut(self) -> None:
        """The client gets the rest of what was written, then the end."""
        self._wake()
        if self._aborting is None:
            self._aborting = self._loop.call_later(CLOSE_SECONDS, self._writer.transport.abort)
            with suppress(NotImplementedError, OSError, RuntimeError):  # TLS has no half-closing
                self._writer.write_eof()
            self._writer.close()

    async def _finish(self) -> None:
        self._shut()
        try:
            with suppress(OSError):
                await self._writer.wait_closed()
        finally:
            self._outgoing.close()
            if self._aborting is not None:
                self._aborting.cancel()


def _address(family: int, name: tuple[str, int] | None) -> tuple[str, int] | None:
    return parse_socket_addr(family, name) if name else None
