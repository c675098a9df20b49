"""A server of embeddings on the loopback that does what it is told, right or wrong."""

import asyncio
import base64
import json
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from msgspec import Struct

ROW = (0.6, 0.0, 0.8, 0.0)


class Reply(Struct):
    """Bytes to write, then what happens to the connection: keep, close, reset."""

    content: bytes
    then: str = "keep"


Behaviour = Callable[[str, dict[str, Any]], Reply]


class Seen(Struct):
    url: str
    port: int
    heads: list[bytes]
    bodies: list[dict[str, Any]]
    connections: list[asyncio.BaseTransport]
    lost: list[asyncio.Future[None]]


def answer(status: int, body: bytes, *fields: str) -> bytes:
    lines = [f"HTTP/1.1 {status} X", f"content-length: {len(body)}", *fields]
    return "\r\n".join([*lines, "", ""]).encode() + body


def refusal(status: int, why: str, *fields: str) -> Reply:
    return Reply(answer(status, json.dumps({"error": {"message": why}}).encode(), *fields))


def embeddings(body: dict[str, Any], row: tuple[float, ...] = ROW, usage: bool = True) -> bytes:
    texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
    packed = base64.b64encode(struct.pack(f"<{len(row)}f", *row)).decode()
    shown: Any = packed if body["encoding_format"] == "base64" else row
    told: dict[str, Any] = {
        "object": "list",
        "data": [{"index": n, "embedding": shown} for n in range(len(texts))],
        "model": body["model"],
    }
    if usage:
        told["usage"] = {"prompt_tokens": 7 * len(texts), "total_tokens": 7 * len(texts)}
    return json.dumps(told).encode()


def right(path: str, body: dict[str, Any]) -> Reply:
    """Lists one model, and embeds rightly."""
    if path.endswith("/models"):
        return Reply(answer(200, b'{"object": "list", "data": [{"id": "tiny"}, {"id": "b"}]}'))
    return Reply(answer(200, embeddings(body)))


class Connection(asyncio.Protocol):
    def __init__(self, behaviour: Behaviour, seen: Seen) -> None:
        self.behaviour, self.seen, self.waiting = behaviour, seen, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.seen.connections.append(transport)
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.seen.lost.append(self.lost)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(None)

    def data_received(self, data: bytes) -> None:
        self.waiting += data
        head, end, body = self.waiting.partition(b"\r\n\r\n")
        length = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0]) if end else 0
        if end and len(body) == length:
            self.waiting = b""
            self.reply(head, json.loads(body) if body else {})

    def reply(self, head: bytes, body: dict[str, Any]) -> None:
        self.seen.heads.append(head)
        if body:
            self.seen.bodies.append(body)
        reply = self.behaviour(head.split(b" ")[1].decode(), body)
        self.transport.write(reply.content)
        if reply.then == "close":
            self.transport.close()
        elif reply.then == "reset":
            raw: socket.socket = self.transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.transport.abort()


@asynccontextmanager
async def serving(
    behaviour: Behaviour = right, secure: ssl.SSLContext | None = None
) -> AsyncIterator[Seen]:
    """Listens while the block runs; what was asked is in the lists."""
    seen = Seen("", 0, [], [], [], [])
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Connection(behaviour, seen), "127.0.0.1", 0, ssl=secure
    )
    seen.port = server.sockets[0].getsockname()[1]
    seen.url = f"http{'s' if secure else ''}://127.0.0.1:{seen.port}"
    try:
        yield seen
    finally:
        server.close()
        for transport in seen.connections:
            transport.close()
        await server.wait_closed()
