"""For the scripts that upload to a real server: a client of it, models of any size."""

import asyncio
import hashlib
import json
import struct
import tarfile
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
from msgspec import Struct

from embedwell.testing import make_model_folder
from tests.e2e.minilm import MINILM
from tests.faults.served import served

HIDDEN = 256
PIECE = bytes(1 << 20)
WEIGHTS = "model.safetensors"


class Running(Struct):
    """A server, ready."""

    process: asyncio.subprocess.Process
    client: httpx.AsyncClient
    seconds: float  # until it was ready

    async def vector(self) -> list[float]:
        answer = await self.client.post("/embeddings", json={"model": MINILM, "input": "a text"})
        answer.raise_for_status()
        row: list[float] = answer.json()["data"][0]["embedding"]
        return row

    async def revision(self, name: str) -> str | None:
        answer = await self.client.get(f"/models/{name}")
        if answer.status_code == 404:
            return None
        return str(answer.raise_for_status().json()["revision"])


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Running]:
    """`embedwell serve` in `folder`, its data in `folder / "data"`."""
    async with (
        served(folder) as one,
        httpx.AsyncClient(base_url=one.url, timeout=300) as client,
    ):
        yield Running(one.process, client, one.seconds)


class Model(Struct, frozen=True):
    """A valid model whose weights are `rows` rows of zeros, made while it is sent."""

    small: dict[str, bytes]
    rows: int

    @property
    def size(self) -> int:
        """Bytes of the tar."""
        return sum(len(chunk) for chunk in self._small()) + _padded(self._weights_size()) + 1024

    def tar(self) -> Iterator[bytes]:
        yield from self._small()
        yield _entry(WEIGHTS, self._weights_size())
        yield from self._weights()
        yield bytes(-self._weights_size() % 512 + 1024)

    def digest(self) -> str:
        """The revision that it is published as."""
        sums = {name: hashlib.sha256(data) for name, data in self.small.items()}
        sums[WEIGHTS] = hashlib.sha256()
        for chunk in self._weights():
            sums[WEIGHTS].update(chunk)
        total = hashlib.sha256()
        for name, found in sorted(sums.items()):
            total.update(f"{name}\0{found.hexdigest()}\0".encode())
        return total.hexdigest()

    def _small(self) -> Iterator[bytes]:
        for name, data in self.small.items():
            yield _entry(name, len(data)) + data + bytes(-len(data) % 512)

    def _header(self) -> bytes:
        size = self.rows * HIDDEN * 4
        tensor = {"dtype": "F32", "shape": [self.rows, HIDDEN], "data_offsets": [0, size]}
        encoded = json.dumps({"embeddings.word_embeddings.weight": tensor}).encode()
        encoded += b" " * (-len(encoded) % 8)
        return struct.pack("<Q", len(encoded)) + encoded

    def _weights_size(self) -> int:
        return len(self._header()) + self.rows * HIDDEN * 4

    def _weights(self) -> Iterator[bytes]:
        yield self._header()
        left = self.rows * HIDDEN * 4
        while left:
            yield PIECE[: min(left, len(PIECE))]
            left -= min(left, len(PIECE))


def model(size: int, prompt: str = "") -> Model:
    """One of about `size` bytes; models with other prompts are other models."""
    rows = max(1_000, size // (HIDDEN * 4))
    with tempfile.TemporaryDirectory() as place:
        folder = make_model_folder(
            Path(place), hidden=HIDDEN, prompts={"query": prompt}, config={"vocab_size": rows}
        )
        small = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file() and path.name != WEIGHTS
        }
    return Model(small, rows)


def _entry(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.USTAR_FORMAT)


def _padded(size: int) -> int:
    return 512 + size + -size % 512


async def send(server: Running, name: str, what: Model, *, declared: bool = True) -> httpx.Response:
    """PUT it; undeclared bodies come in chunks."""

    async def body() -> AsyncIterator[bytes]:
        for chunk in what.tar():
            yield chunk

    headers = {"content-length": str(what.size)} if declared else {}
    return await server.client.put(
        "/models/upload", params={"model": name}, content=body(), headers=headers
    )


def staged(folder: Path) -> list[str]:
    """What lies in staging."""
    return [path.name for path in (folder / "data" / "staging").iterdir()]
