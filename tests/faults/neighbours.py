"""What single texts wait while others do the worst: 2,048 texts a request, loads, huge texts.

    python -m tests.faults.neighbours [seconds of each part]

Four clients ask for one short text at a time; beside them there is nobody, a client with 2,048
texts a request, or models that load again and again while texts of a megabyte are tokenised.
Prints what they waited, and what /health took; exits non-zero where a request failed, a text was
starved, or /health took more than a fifth of a second.
"""

import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import httpx

from tests.e2e.minilm import MINILM
from tests.faults.copies import publish
from tests.faults.upload_server import Running, running

SINGLES = 4
MANY = 2_048
STARVED = 5.0  # seconds of a p95
QUICK = 0.2  # seconds that /health may take, p99
COPIES = ("one", "two")
WORDS = ("lift", "of", "a", "wing", "heat", "in", "thin", "plates")


def text(count: int) -> str:
    return " ".join(random.choices(WORDS, k=count))


def quantile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


async def post(client: httpx.AsyncClient, model: str, given: object) -> None:
    body = {"model": model, "input": given, "encoding_format": "base64"}
    (await client.post("/embeddings", json=body)).raise_for_status()


async def timed(what: Callable[[], Awaitable[object]], pause: float) -> list[float]:
    """Seconds of each call, until it is cancelled."""
    found: list[float] = []
    with suppress(asyncio.CancelledError):
        while True:
            began = time.monotonic()
            await what()
            found.append(time.monotonic() - began)
            await asyncio.sleep(pause)
    return found


async def nobody(client: httpx.AsyncClient) -> None:
    await asyncio.Event().wait()


async def bulk(client: httpx.AsyncClient) -> None:
    while True:
        await post(client, MINILM, [text(20) for _ in range(MANY)])


async def loads(client: httpx.AsyncClient) -> None:
    """Two models that load in turn, and a text of a megabyte."""

    async def reload() -> None:
        while True:
            for name in COPIES:
                await post(client, name, "a text")
                await client.post("/embeddings/cache/clear", json={"models": [name]})

    async def huge() -> None:
        while True:
            await post(client, MINILM, text(200_000))

    async with asyncio.TaskGroup() as group:
        group.create_task(reload())
        group.create_task(huge())


async def part(server: Running, name: str, beside: Callable[[httpx.AsyncClient], Awaitable[None]], seconds: float) -> tuple[float, float]:  # fmt: skip
    """p95 of the single texts, p99 of /health."""
    url = server.client.base_url
    async with httpx.AsyncClient(base_url=url, timeout=120) as client:
        other = asyncio.ensure_future(beside(client))
        single = [
            asyncio.create_task(timed(lambda: post(client, MINILM, text(8)), 0))
            for _ in range(SINGLES)
        ]
        health = asyncio.create_task(timed(lambda: client.get("/health"), 0.05))
        await asyncio.wait([other], timeout=seconds)
        if other.done():
            other.result()
        other.cancel()
        for task in (*single, health):
            task.cancel()
        await asyncio.wait([other, health, *single])
    waits, probes = [wait for task in single for wait in task.result()], health.result()
    print(f"{name}: {len(waits) / seconds:.0f} single texts a second, p50 {1e3 * quantile(waits, 0.5):.0f} ms, "
          f"p95 {1e3 * quantile(waits, 0.95):.0f} ms, p99 {1e3 * quantile(waits, 0.99):.0f} ms; "
          f"/health p99 {1e3 * quantile(probes, 0.99):.0f} ms", flush=True)  # fmt: skip
    return quantile(waits, 0.95), quantile(probes, 0.99)


async def run(seconds: float) -> int:
    parts = {
        "alone": nobody,
        f"beside {MANY} texts a request": bulk,
        "beside loads and texts of a megabyte": loads,
    }
    with tempfile.TemporaryDirectory() as place:
        async with running(Path(place)) as server:
            for name in COPIES:
                await publish(server, name)
            await server.vector()
            found = [await part(server, *item, seconds) for item in parts.items()]
    good = all(p95 <= STARVED and health <= QUICK for p95, health in found)
    print("good" if good else "FAILED")
    return 0 if good else 1


def main() -> None:
    sys.exit(asyncio.run(run(float(sys.argv[1]) if len(sys.argv) > 1 else 15.0)))


if __name__ == "__main__":
    main()
