"""Thousands of mixed requests, one in ten of which leaves early: nothing grows, nothing is held.

    [MINUTES=10] python -m tests.faults.soak [requests] [seed]

Asks for so many requests at the least, and for so many minutes.

Sixteen clients ask three copies of all-MiniLM-L6-v2 for one text, for many, for token ids, and for
what is wrong. Two stores of libraries, in which nothing else could be seen, are kept small: glibc
gives large blocks back at once (by itself it keeps fragments of them, some hundred megabytes within
the first ten thousand requests), and oneDNN remembers fewer shapes. Prints a line every thousand;
exits non-zero on a fault.
"""

import asyncio
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import httpx
import numpy as np
from msgspec import structs

from embedwell.catalog import THREADS
from tests.e2e.minilm import MINILM
from tests.faults.copies import cache, of_process, publish, vector
from tests.faults.upload_server import Running, running

MINUTES = float(os.environ.get("MINUTES", "0"))
CLIENTS = 16
LEAVING = 0.1  # of the requests
PATIENCE = 0.05  # seconds, at most, until such a client has left
EVERY = 1_000  # requests between two samples
WARM_UP = 2  # samples before those that count
SLOPE = 1_000_000  # bytes that 1,000 requests may leave behind
STARTED = THREADS  # of the pool that tokenises: each is started when it is first needed
LIBRARIES = {
    "MALLOC_MMAP_THRESHOLD_": "131072",
    "MALLOC_TRIM_THRESHOLD_": "131072",
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "256",
}
MODELS = (MINILM, "one", "two")
WORDS = ("lift", "of", "a", "wing", "heat", "in", "thin", "plates", "naïve", "数学")
EXPECTED = {"200", "404", "422", "left"}


def body(random: random.Random) -> dict[str, Any]:
    """A request, mostly a good one."""
    words = [random.choice(WORDS) for _ in range(random.randrange(1, 60))]
    text = " ".join(words)
    inputs: list[Any] = [
        text, text, [text] * random.randrange(1, 9), [101, 7592, 2088, 102], [[101, 102]] * 3, [], 5,
    ]  # fmt: skip
    given = {"model": random.choice(MODELS), "input": random.choice(inputs)}
    odd = random.random()
    if odd < 0.02:
        given["model"] = "nobody"
    elif odd < 0.04:
        given["dimensions"] = random.choice([16, 100_000])
    if odd > 0.5:
        given["encoding_format"] = "base64"
    return given


async def one(client: httpx.AsyncClient, random: random.Random) -> str:
    """Its status, or that the client left."""
    patience = random.random() * PATIENCE if random.random() < LEAVING else None
    try:
        async with asyncio.timeout(patience):
            answer = await client.post("/embeddings", json=body(random))
    except TimeoutError:
        return "left"
    return str(answer.status_code)


async def some(server: Running, count: int, random: random.Random) -> Counter[str]:
    """So many requests, by all clients together."""
    outcomes: Counter[str] = Counter()
    left = count

    async def work() -> None:
        nonlocal left
        while left:
            left -= 1
            outcomes[await one(server.client, random)] += 1

    await asyncio.gather(*[work() for _ in range(CLIENTS)])
    return outcomes


async def quiet(server: Running) -> tuple[int, int]:
    """Leases and queued tokens that are left once nobody asks any more."""
    for _ in range(100):
        leases = sum(row["leases"] for row in (await cache(server))["models"])
        queued = int((await server.client.get("/info")).json()["queued_tokens"])
        if leases == queued == 0:
            break
        await asyncio.sleep(0.1)
    return leases, queued


class Sample(NamedTuple):
    """After some requests, nobody asking: resident bytes, threads, and what was left over."""

    resident: int
    threads: int
    leases: int
    queued: int


async def sample(server: Running) -> Sample:
    leases, queued = await quiet(server)
    pid = server.process.pid
    return Sample(of_process(pid, "VmRSS"), of_process(pid, "Threads"), leases, queued)


def slope(values: Sequence[int]) -> float:
    """Per step; the median over all pairs, which one odd sample does not move."""
    pairs = combinations(enumerate(values), 2)
    return median((later - earlier) / (j - i) for (i, earlier), (j, later) in pairs)


async def sampled(
    server: Running, count: int, random: random.Random
) -> tuple[list[Sample], Counter[str]]:
    samples: list[Sample] = []
    total: Counter[str] = Counter()
    end = time.monotonic() + 60 * MINUTES
    while len(samples) < WARM_UP + max(1, count // EVERY) or time.monotonic() < end:
        outcomes = await some(server, EVERY, random)
        total += outcomes
        samples.append(found := await sample(server))
        print(f"resident {found.resident / 1e6:6.1f} MB, threads {found.threads}, leases "
              f"{found.leases}, queued {found.queued}, {dict(sorted(outcomes.items()))}")  # fmt: skip
    return samples, total


async def soak(server: Running, count: int, random: random.Random) -> bool:
    golden = {name: await vector(server, name) for name in MODELS}
    samples, total = await sampled(server, count, random)
    same = all(
        [np.abs(await vector(server, name) - row).max() <= 1e-5 for name, row in golden.items()]
    )
    counted = samples[WARM_UP - 1 :]
    grown = slope([one.resident for one in counted])
    threads = counted[-1].threads - counted[0].threads
    left = sum(one.leases + one.queued for one in samples)
    strange = sorted(status for status in total if status not in EXPECTED)
    print(f"{grown / 1e6:+.2f} MB per 1,000 requests (at most {SLOPE / 1e6:g}); threads {threads:+}; "
          f"same vectors {same}; unexpected answers {strange or 'none'}")  # fmt: skip
    return same and threads <= STARTED and not left and not strange and grown < SLOPE


def client_of(server: Running) -> httpx.AsyncClient:
    """It lets go of idle connections before the server does, and so never meets a closed one."""
    limits = httpx.Limits(max_connections=100, keepalive_expiry=1)
    return httpx.AsyncClient(base_url=server.client.base_url, timeout=300, limits=limits)


async def run(count: int, seed: int) -> int:
    os.environ.update(LIBRARIES)
    with tempfile.TemporaryDirectory() as place:
        async with running(Path(place)) as started, client_of(started) as client:
            server = structs.replace(started, client=client)
            for name in MODELS[1:]:
                await publish(server, name)
            good = await soak(server, count, random.Random(seed))
    print(f"seed {seed}: {'good' if good else 'FAILED'}")
    return 0 if good else 1


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 5_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(10_000)
    sys.exit(asyncio.run(run(count, seed)))


if __name__ == "__main__":
    main()
