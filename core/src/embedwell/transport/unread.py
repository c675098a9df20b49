"""What clients have not read of their answers yet: how much it may be, and who is cut for it."""

import asyncio
import fcntl
import socket
import struct
import termios
from collections.abc import Callable, Iterator

MOST_BYTES = 256_000_000  # of all answers that wait for their clients
PIECE = 262_144  # bytes that a transport is given at once, so that it holds few itself
LOOK_SECONDS = 1.0
STALLED_SECONDS = 2.0  # without a byte taken, after which others' answers come first
STOPPING_SECONDS = 5.0  # the same where the server would stop, but for these

Number = struct.Struct("i")


class Outgoing:
    """One client's answers, and how far it has taken them; loop only."""

    def __init__(self, home: "Unread", writer: asyncio.StreamWriter) -> None:
        self._home, self._writer = home, writer
        self._socket: socket.socket = writer.get_extra_info("socket")
        self._handed = self._taken = self._writing = 0
        self.since = 0.0  # when it was last seen to take something

    async def write(self, data: bytes) -> None:
        """Returns once the client has taken nearly all; raises ConnectionError, RuntimeError."""
        self._writing = len(data)
        self._home.add(self)
        try:
            for piece in _pieces(data):
                self._handed += len(piece)
                self._writer.write(piece)
                await self._writer.drain()
        finally:
            self._writing = 0

    def close(self) -> None:
        """Nothing waits any more."""
        self._home.forget(self)

    @property
    def held(self) -> int:
        """Bytes of ours that wait for the client."""
        return self._writing + self._writer.transport.get_write_buffer_size()

    def look(self, now: float) -> None:
        """Note whether the client has taken anything since it was looked at."""
        waiting = self._writer.transport.get_write_buffer_size() + _with_the_kernel(self._socket)
        if self._handed - waiting > self._taken:
            self._taken, self.since = self._handed - waiting, now

    def cut(self) -> None:
        """The client gets no more; whoever writes to it is told by the next piece."""
        self._writer.transport.abort()


class Unread:
    """All clients that have not taken all of their answers; loop only.

    Beyond MOST_BYTES together the one that has taken nothing for longest is cut, and while
    `stopping` is set whoever takes nothing for STOPPING_SECONDS: its work was done. Nobody who
    reads is cut. No event tells of clients that do nothing, so they are looked at every second,
    while there are any.
    """

    def __init__(self, stopping: asyncio.Event, warn: Callable[[str, int], None]) -> None:
        self._stopping, self._warn = stopping, warn
        self._behind: set[Outgoing] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    def add(self, outgoing: Outgoing) -> None:
        """It is about to be written to."""
        if outgoing not in self._behind:
            self._behind.add(outgoing)
            outgoing.since = self._loop.time()
            if self._timer is None:
                self._timer = self._loop.call_later(LOOK_SECONDS, self._look)
        if outgoing.held > PIECE:
            self._relieve()

    def forget(self, outgoing: Outgoing) -> None:
        """It is closed."""
        self._behind.discard(outgoing)

    def close(self) -> None:
        """Looks no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        self._behind = {outgoing for outgoing in self._behind if outgoing.held}
        now = self._loop.time()
        for outgoing in self._behind:
            outgoing.look(now)
        if self._stopping.is_set():
            self._cut([o for o in self._behind if now - o.since >= STOPPING_SECONDS])
        self._relieve()
        self._timer = None
        if self._behind:
            self._timer = self._loop.call_later(LOOK_SECONDS, self._look)

    def _relieve(self) -> None:
        too_many = sum(outgoing.held for outgoing in self._behind) - MOST_BYTES
        if too_many <= 0:
            return
        now, stalled = self._loop.time(), []
        for outgoing in self._behind:
            outgoing.look(now)
        for outgoing in sorted(self._behind, key=lambda o: o.since):
            if too_many <= 0 or now - outgoing.since < STALLED_SECONDS:
                break
            too_many -= outgoing.held
            stalled.append(outgoing)
        self._cut(stalled)

    def _cut(self, stalled: list[Outgoing]) -> None:
        for outgoing in stalled:
            self._behind.discard(outgoing)
            outgoing.cut()
        if stalled:
            self._warn("connections cut whose clients do not read: %d", len(stalled))


def _pieces(data: bytes) -> Iterator[bytes | memoryview]:
    if len(data) <= PIECE:
        yield data
        return
    view = memoryview(data)
    for start in range(0, len(data), PIECE):
        yield view[start : start + PIECE]


def _with_the_kernel(client: socket.socket) -> int:
    """Bytes that the kernel holds until the other side has taken them; 0 where it cannot tell."""
    try:
        found = fcntl.ioctl(client.fileno(), termios.TIOCOUTQ, bytes(Number.size))
    except (OSError, ValueError):  # it is closed already
        return 0
    waiting: int = Number.unpack(found)[0]
    return waiting
