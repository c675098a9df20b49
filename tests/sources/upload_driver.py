"""A server that takes uploads, and clients of it: a usual one, and one that sends what it likes."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from msgspec import Struct

from embedwell.config.schema import Cache, Config, Server, Sources
from embedwell.testing import FakeBackend, make_model_folder
from embedwell.testing.server import RunningServer, running_server
from tests.core.models.archives import pack_folder

BOUNDARY = "frontier"
FORM = f"multipart/form-data; boundary={BOUNDARY}"


def settings(tmp_path: Path, upload: Mapping[str, Any] | None = None, **sections: Any) -> Config:
    tables = {"upload": dict(upload or {}), "huggingface": {"download": "never"}}
    server = sections.pop("server", {})
    given = {
        "server": Server(data_dir=str(tmp_path / "data"), **server),
        "cache": Cache(safety_margin_gb=0.1),
        "sources": Sources(tables=tables),
    } | sections
    return Config(**given)


class Site:
    """A running server, its folder, and a client."""

    def __init__(self, server: RunningServer, client: httpx.AsyncClient, data: Path) -> None:
        self.server = server
        self.client = client
        self.data = data

    def staged(self) -> list[str]:
        return [path.name for path in (self.data / "staging").iterdir()]

    async def names(self) -> list[str]:
        rows = (await self.client.get("/models")).json()["data"]
        return [row["id"] for row in rows]

    async def put(self, name: str, content: bytes) -> httpx.Response:
        return await self.client.put("/models/upload", params={"model": name}, content=content)

    async def embed(self, model: str, *texts: str) -> httpx.Response:
        return await self.client.post("/embeddings", json={"model": model, "input": texts})

    async def calm(self) -> None:
        """Returns once staging is empty."""
        async with asyncio.timeout(10):
            while self.staged():
                await asyncio.sleep(0)

    async def unharmed(self) -> None:
        """What must hold after an upload that failed."""
        await self.calm()
        assert await self.names() == []


@asynccontextmanager
async def site(
    tmp_path: Path,
    upload: Mapping[str, Any] | None = None,
    backend: FakeBackend | None = None,
    **sections: Any,
) -> AsyncIterator[Site]:
    config = settings(tmp_path, upload, **sections)
    async with (
        running_server(config, backend=backend or FakeBackend()) as server,
        httpx.AsyncClient(base_url=server.url, timeout=20) as client,
    ):
        yield Site(server, client, tmp_path / "data")


def packed(tmp_path: Path, kind: str = "zip", **folder: Any) -> bytes:
    """A little model as an archive."""
    model = make_model_folder(tmp_path / f"model-{json.dumps(folder, sort_keys=True)}", **folder)
    return pack_folder(tmp_path / f"packed.{kind}", kind, model).read_bytes()


class Field(Struct, frozen=True):
    """A part of a form."""

    name: str
    data: bytes
    filename: str | None = None


def form(*fields: Field, end: bytes = b"--\r\n") -> bytes:
    """A multipart body; `end` follows the last boundary."""
    parts = [b"--" + BOUNDARY.encode() + b"\r\n" + _head(field) + field.data for field in fields]
    return b"\r\n".join([*parts, b"--" + BOUNDARY.encode() + end])


def _head(field: Field) -> bytes:
    filename = "" if field.filename is None else f'; filename="{field.filename}"'
    return f'Content-Disposition: form-data; name="{field.name}"{filename}\r\n\r\n'.encode()


class Raw:
    """A connection by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.head = b""  # of the answer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, seconds: float = 20) -> tuple[int, dict[str, Any]]:
        """Status and JSON."""
        async with asyncio.timeout(seconds):
            self.head = head = await self.reader.readuntil(b"\r\n\r\n")
            length = next(
                int(line.split(b":")[1])
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"content-length:")
            )
            body = await self.reader.readexactly(length)
        return int(head.split(b" ", 2)[1]), json.loads(body)

    def reset(self) -> None:
        self.writer.transport.abort()


@asynccontextmanager
async def raw(
    port: int,
    *,
    length: int | None,
    method: str = "POST",
    query: str = "",
    headers: Sequence[str] = (f"Content-Type: {FORM}",),
) -> AsyncIterator[Raw]:
    """A request whose head was sent; `length` None sends chunks."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    lines = [f"{method} /models/upload{query} HTTP/1.1", "Host: localhost", framing, *headers]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    await writer.drain()
    try:
        yield Raw(reader, writer)
    finally:
        writer.close()
