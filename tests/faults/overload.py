"""Twice as much as a server can do, from 256 connections, one in ten of which leaves early.

    MINUTES=10 python -m tests.faults.overload [seed]

Measures what the server answers with 16 connections, then asks for twice that, TEXTS (8) texts a
request, with room for QUEUE (60,000) tokens: 0 leaves the server's own default, which so many
connections fill with 64 texts only. What was accepted must be right and in bounded time, the rest
be told 429 and when to come again; memory, threads and descriptors must be what they were. Exits
non-zero where they are not.
"""

import asyncio
import os
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np

from embedwell.bench.texts import endless
from embedwell.engine.tolerances import COMPOSITION
from tests.e2e.minilm import MINILM, Vectors
from tests.faults.copies import of_process
from tests.faults.flood import Flood, Question, Seen, question, rows
from tests.faults.soak import LIBRARIES, quiet
from tests.faults.upload_server import Running, running

MINUTES = float(os.environ.get("MINUTES", "10"))
TEXTS = int(os.environ.get("TEXTS", "8"))
QUEUE = int(os.environ.get("QUEUE", "60000"))
QUESTIONS = 64
CONNECTIONS = 256
MEASURING = 15.0  # seconds
LEAVING = 0.1
EVERY = 2.0  # seconds between samples
SLOPE = 1_000_000  # bytes that 1,000 requests may leave behind
LATE = 60.0  # seconds: half of a request's own deadline
STARTED = 2  # threads and descriptors that may not have been needed before


class State(NamedTuple):
    """What the process has open."""

    threads: int
    files: int

    @classmethod
    def of(cls, pid: int) -> "State":
        return cls(of_process(pid, "Threads"), len(list(Path(f"/proc/{pid}/fd").iterdir())))


async def questions(server: Running, port: int) -> list[Question]:
    """Each with its vectors, asked for alone and text by text."""
    texts = endless()
    made = []
    for _ in range(QUESTIONS):
        own = [next(texts) for _ in range(TEXTS)]
        made.append(question(port, MINILM, own, await golden(server, own)))
    return made


async def golden(server: Running, texts: Sequence[str]) -> Vectors:
    found = []
    for text in texts:
        body = {"model": MINILM, "input": text, "encoding_format": "base64"}
        answer = await server.client.post("/embeddings", json=body)
        found.append(rows(answer.raise_for_status().content)[0])
    return np.stack(found)


async def sample(pid: int, seen: Seen, samples: list[tuple[int, int]]) -> None:
    while True:
        samples.append((seen.asked, of_process(pid, "VmRSS")))
        await asyncio.sleep(EVERY)


def slope(samples: Sequence[tuple[int, int]]) -> float:
    """Bytes a thousand requests, of the last two thirds; the median over all pairs."""
    late = samples[len(samples) // 3 :]
    return 1_000 * median(
        (b[1] - a[1]) / (b[0] - a[0]) for a, b in combinations(late, 2) if b[0] > a[0]
    )


async def settled(server: Running, before: State) -> tuple[State, tuple[int, int]]:
    """Its state, leases and queued tokens, once they are what they were or ten seconds are over."""
    left = await quiet(server)
    end = time.monotonic() + 10
    while (now := State.of(server.process.pid)) > before and time.monotonic() < end:
        await asyncio.sleep(0.2)
    return now, left


async def overload(server: Running, seed: int) -> bool:
    port = int(str(server.client.base_url.port))
    pid = server.process.pid
    asked = await questions(server, port)
    able = Flood(port, asked, float("inf"), 0.0, seed)
    capacity = len((await able.run(16, MEASURING)).latencies) / MEASURING
    print(f"capacity: {capacity:.1f} requests a second of {TEXTS} texts")
    await asyncio.sleep(6)  # kept connections are closed
    before = State.of(pid)
    flood = Flood(port, asked, 2 * capacity, LEAVING, seed)
    samples: list[tuple[int, int]] = []
    sampling = asyncio.create_task(sample(pid, flood.seen, samples))
    began = time.monotonic()
    seen = await flood.run(CONNECTIONS, MINUTES * 60)
    took = time.monotonic() - began
    sampling.cancel()
    after, left = await settled(server, before)
    return await judged(server, seen, took, slope(samples), (before, after, left))


async def judged(
    server: Running,
    seen: Seen,
    took: float,
    grown: float,
    states: tuple[State, State, tuple[int, int]],
) -> bool:
    before, after, left = states
    info = (await server.client.get("/info")).json()
    tolerance = COMPOSITION[info["running"][0]["dtype"]]
    told = dict(sorted(seen.outcomes.items()))
    strange = sorted(set(told) - {"200", "429", "left"})
    print(f"asked for {seen.asked / took:.1f} a second: {told}")
    print(f"accepted: p50 {seen.quantile(0.5):.2f} s, p99 {seen.quantile(0.99):.2f} s, "
          f"longest {seen.quantile(1):.2f} s (p99 at most {LATE:g})")  # fmt: skip
    print(f"furthest vector {seen.furthest:.1e} (at most {tolerance:g})")
    print(f"{grown / 1e6:+.2f} MB per 1,000 requests (at most {SLOPE / 1e6:g}); resident "
          f"{of_process(server.process.pid, 'VmRSS') / 1e6:.0f} MB")  # fmt: skip
    print(f"threads {before.threads} → {after.threads}, descriptors {before.files} → "
          f"{after.files}, leases and queued tokens {left}; unexpected: {strange or 'none'}")  # fmt: skip
    calm = after.threads <= before.threads + STARTED and after.files <= before.files + STARTED
    full = seen.outcomes["429"] > 0 and seen.outcomes["200"] > 0
    right = seen.furthest <= tolerance and seen.quantile(0.99) <= LATE
    return calm and full and right and not strange and left == (0, 0) and grown < SLOPE


async def run(seed: int) -> int:
    os.environ.update(LIBRARIES)
    if QUEUE:
        os.environ["EMBEDWELL_BATCHING__MAX_QUEUED_TOKENS"] = str(QUEUE)
    with tempfile.TemporaryDirectory() as place:
        async with running(Path(place)) as server:
            good = await overload(server, seed)
    print(f"seed {seed}: {'good' if good else 'FAILED'}")
    return 0 if good else 1


def main() -> None:
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else random.randrange(10_000)
    sys.exit(asyncio.run(run(seed)))


if __name__ == "__main__":
    main()
