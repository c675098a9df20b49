"""Thousands of mixed requests, one in ten of which leaves early: nothing grows, nothing is held.

    python -m tests.faults.soak [requests] [seed]

Three copies of all-MiniLM-L6-v2 stay loaded, sixteen clients ask them for one text, for many, for
token ids, and for what is wrong. Prints a line every thousand; exits non-zero on a fault.
"""

import asyncio
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from tests.faults.copies import cache, of_process, publish, vector
from tests.faults.upload_server import MINILM, Running, running

CLIENTS = 16
LEAVING = 0.1  # of the requests
PATIENCE = 0.05  # seconds, at most, until such a client has left
EVERY = 1_000  # requests between two samples, the first of which follow a warm-up of as many
SLOPE = 1_000_000  # bytes that 1,000 requests may leave behind
MODELS = (MINILM, "one", "two")
WORDS = ("lift", "of", "a", "wing", "heat", "in", "thin", "plates", "naïve", "数学")
EXPECTED = {200, 404, 422}


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


async def soak(server: Running, count: int, random: random.Random) -> bool:
    pid = server.process.pid
    golden = {name: await vector(server, name) for name in MODELS}
    memory: list[int] = []
    threads: list[int] = []
    total: Counter[str] = Counter()
    for _ in range(count // EVERY + 1):
        outcomes = await some(server, EVERY, random)
        total += outcomes
        leases, queued = await quiet(server)
        memory.append(of_process(pid, "VmRSS"))
        threads.append(of_process(pid, "Threads"))
        print(f"resident {memory[-1] / 1e6:6.1f} MB  threads {threads[-1]}  leases {leases}  "
              f"queued {queued}  {dict(sorted(outcomes.items()))}")  # fmt: skip
    slope = float(np.polyfit(range(len(memory)), memory, 1)[0])
    same = all(
        [np.abs(await vector(server, name) - row).max() <= 1e-5 for name, row in golden.items()]
    )
    strange = {status for status in total if status != "left" and int(status) not in EXPECTED}
    print(f"{slope / 1e6:+.2f} MB per 1,000 requests (at most {SLOPE / 1e6:g}); same vectors {same}; "
          f"unexpected answers {sorted(strange) or 'none'}")  # fmt: skip
    constant = len(set(threads)) == 1
    return same and constant and leases == queued == 0 and not strange and slope < SLOPE


async def run(count: int, seed: int) -> int:
    with tempfile.TemporaryDirectory() as place:
        async with running(Path(place)) as server:
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
