"""A client in a process of its own, one job at a time; adapter/adapter.py says what a job is."""

import asyncio
import base64
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np

from tests.e2e.clients.catalogue import ADAPTER, INSTALLED, Client
from tests.e2e.minilm import Vectors

PATIENCE = 120  # seconds for one job; importing some clients takes a while
LONGEST = 256 * 1024 * 1024  # bytes of an answer
CL100K = "9b5ad71b2ce5302211f9c61530b329a4922fc6a4"  # tiktoken's name for its file of OpenAI's ids
DEFAULTS = {"call": "embed", "key": "unused", "retries": 0, "timeout": 60}
Answer = dict[str, Any]


class Driver:
    """`client` is what it drives."""

    def __init__(self, client: Client, process: asyncio.subprocess.Process) -> None:
        self.client = client
        self._process = process

    async def __call__(self, url: str, **job: Any) -> Answer:
        """What came of one job: vectors and perhaps tokens, models, an error, or unsupported."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        line = json.dumps(DEFAULTS | {"url": f"{url}/v1"} | job)
        self._process.stdin.write(line.encode() + b"\n")
        await self._process.stdin.drain()
        answer = await asyncio.wait_for(self._process.stdout.readline(), PATIENCE)
        assert answer, f"{self.client.name} has ended"
        told: Answer = json.loads(answer)
        assert ("unsupported" in told) <= (told.get("unsupported") in self.client.lacks), told
        return told

    async def vectors(self, url: str, **job: Any) -> Vectors:
        """Of a job that must succeed."""
        told = await self(url, **job)
        assert "vectors" in told, told
        return np.stack([as_vector(row) for row in told["vectors"]])


def as_vector(row: str | list[float]) -> Vectors:
    """Numbers, or their base64 where a client hands that through."""
    if isinstance(row, str):
        return np.frombuffer(base64.b64decode(row), "<f4")
    return np.asarray(row, np.float32)


def openais_ids() -> str | None:
    """The folder in which some package brought OpenAI's tokeniser file along."""
    found = next(INSTALLED.glob(f"*/lib/*/site-packages/**/{CL100K}"), None)
    return str(found.parent) if found else None


def _environment() -> dict[str, str]:
    own = {
        "PYTHONPATH": str(ADAPTER),
        "TIKTOKEN_CACHE_DIR": openais_ids() or "",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # else it fetches prices when it is imported
    }
    mine = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")}
    return mine | own


@asynccontextmanager
async def driven(client: Client) -> AsyncIterator[Driver]:
    """Ends the client with the block."""
    process = await asyncio.create_subprocess_exec(
        *client.command(), env=_environment(), limit=LONGEST,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield Driver(client, process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
