"""A server on a fake device as a process of its own, and requests to it by hand."""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

from msgspec import Struct

from tests.sources.upload_driver import Raw

ROOT = Path(__file__).parents[2]
SLACK = 20.0  # seconds that a busy machine may take for what is due at once


class Child(Struct):
    """`port` is 0 until it is ready; `told` is when it was told to stop, first."""

    process: asyncio.subprocess.Process
    folder: Path
    port: int = 0
    told: float = 0.0

    async def ready(self) -> None:
        assert self.process.stdout
        line = (await asyncio.wait_for(self.process.stdout.readline(), 60)).decode()
        self.port = int(line.split("ready on http://localhost:")[1].split(" ")[0])

    def stop(self) -> None:
        self.told = self.told or time.monotonic()
        self.process.send_signal(signal.SIGTERM)

    async def ended(self, within: float = 0.0) -> int:
        """Its exit code; raises TimeoutError."""
        return await asyncio.wait_for(self.process.wait(), within + SLACK)

    async def get(self, path: str) -> tuple[int, dict[str, Any]]:
        async with opened(self.port, "GET", path) as connection:
            return await connection.answer()

    async def embed(self, text: str, model: str = "tiny") -> tuple[int, dict[str, Any]]:
        async with asking(self.port, text, model) as connection:
            return await connection.answer(60)

    async def busy(self) -> None:
        """Returns once a request is past its tokenising."""
        async with asyncio.timeout(SLACK):
            while not (await self.get("/info"))[1]["queued_tokens"]:
                await asyncio.sleep(0.01)

    async def draining(self) -> None:
        async with asyncio.timeout(SLACK):
            while (await self.get("/ready"))[0] != 503:
                await asyncio.sleep(0.01)


@asynccontextmanager
async def opened(
    port: int, method: str, path: str, body: bytes = b"", length: int | None = None
) -> AsyncIterator[Raw]:
    """A request that was sent; `length` declares another body than comes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    kind = "application/json" if method == "POST" else "application/zip"
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Content-Type: {kind}"]
    if method != "GET":
        lines.append(f"Content-Length: {len(body) if length is None else length}")
    writer.write("\r\n".join([*lines, "", ""]).encode() + body)
    try:
        await writer.drain()
        yield Raw(reader, writer)
    finally:
        writer.close()


def asking(port: int, text: str, model: str = "tiny") -> AbstractAsyncContextManager[Raw]:
    body = json.dumps({"model": model, "input": text}).encode()
    return opened(port, "POST", "/embeddings", body)


@asynccontextmanager
async def child(
    folder: Path,
    settings: str,
    *,
    python: str = sys.executable,
    starting: float = 0.0,
) -> AsyncIterator[Child]:
    """`settings` is its config.toml; ready when the block is entered, unless it takes long to start."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.toml").write_text(settings)
    with (folder / "log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            python, "-m", "tests.faults.fake_serve", str(folder), str(starting),
            cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=log, env=os.environ | {"PYTHONPATH": ""},
        )  # fmt: skip
    made = Child(process, folder)
    try:
        if not starting:
            await made.ready()
        yield made
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
