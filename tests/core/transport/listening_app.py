"""An application behind our own connections, on loopback, and clients that speak bytes."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from embedwell.transport.server import serve

HEAD = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"
SECONDS = 30


@asynccontextmanager
async def listening_app(
    app: Any,
    *,
    most: int = 100,
    tls: ssl.SSLContext | None = None,
    buffer: int = 0,
    stopping: asyncio.Event | None = None,
) -> AsyncIterator[int]:
    """The port that it listens on; `buffer` bytes are what the kernel may hold of an answer."""
    listener, stop = socket.create_server(("127.0.0.1", 0)), asyncio.Event()
    if buffer:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
    port = listener.getsockname()[1]
    serving = asyncio.create_task(serve(app, listener, stop, most=most, tls=tls, stopping=stopping))
    try:
        yield port
    finally:
        stop.set()
        await asyncio.wait_for(serving, SECONDS)


class Peer:
    """A connection by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def connect(cls, port: int) -> "Peer":
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self) -> tuple[int, bytes]:
        """Status and body of one answer."""
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), SECONDS)
        fields = dict(line.lower().split(b": ", 1) for line in head.splitlines()[1:] if line)
        size = int(fields.get(b"content-length", b"0"))
        body = await asyncio.wait_for(self.reader.readexactly(size), SECONDS)
        assert b"x-request-id" in fields
        return int(head.split()[1]), body

    async def ask(self) -> None:
        """One whole request at once, which must be answered."""
        await self.send(HEAD + b"\r\n")
        assert (await self.answer())[0] == 200

    async def closed(self) -> bytes:
        """What came before the server closed."""
        try:
            return await asyncio.wait_for(self.reader.read(), SECONDS)
        except ConnectionResetError:
            return b""
        finally:
            self.close()

    def close(self) -> None:
        self.writer.close()
