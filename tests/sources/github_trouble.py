"""What goes wrong between a client and GitHub, and a listener that must see nothing of it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.sources.github_server import Fault, GitHub, Response, chunk, send


def status(code: int, **headers: str) -> Fault:
    async def fault(writer: asyncio.StreamWriter, response: Response) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        await send(writer, Response(code, b"{}", named))

    return fault


def redirect(location: str, code: int = 302) -> Fault:
    return status(code, Location=location)


async def drop(writer: asyncio.StreamWriter, response: Response) -> None:
    """Half of the body, then the end of the connection."""
    await send(writer, response, cut=len(response.body) // 2)


async def shorten(writer: asyncio.StreamWriter, response: Response) -> None:
    """Half of the body, as if it were all."""
    await send(writer, _with(response, response.body[: len(response.body) // 2]))


async def lengthen(writer: asyncio.StreamWriter, response: Response) -> None:
    await send(writer, _with(response, response.body + b"more"))


async def damage(writer: asyncio.StreamWriter, response: Response) -> None:
    """The last byte is another one."""
    body = response.body
    await send(writer, _with(response, body[:-1] + bytes([body[-1] ^ 1])))


async def endless(writer: asyncio.StreamWriter, response: Response) -> None:
    """As much as anybody will take."""
    await send(writer, Response(200, b"", sized=False), cut=0)
    while True:
        writer.write(chunk(bytes(65_536)))
        await writer.drain()


def hang(github: GitHub) -> Fault:
    """Half of the body, then nothing more."""

    async def fault(writer: asyncio.StreamWriter, response: Response) -> None:
        await send(writer, response, cut=len(response.body) // 2)
        github.hanging.set()
        await github.closing.wait()

    return fault


def silence(github: GitHub) -> Fault:
    async def fault(writer: asyncio.StreamWriter, response: Response) -> None:
        github.hanging.set()
        await github.closing.wait()

    return fault


class Canary:
    """A listener that nobody may connect to."""

    def __init__(self) -> None:
        self.connections = 0
        self.port = 0

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        writer.close()


@asynccontextmanager
async def canary() -> AsyncIterator[Canary]:
    """Checks at the end of the block that it saw nothing."""
    made = Canary()
    server = await asyncio.start_server(made.accept, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
    assert made.connections == 0


def _with(response: Response, body: bytes) -> Response:
    return Response(response.status, body, response.headers, response.sized)
