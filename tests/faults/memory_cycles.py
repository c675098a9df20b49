"""Load and evict a real model a hundred times over HTTP: memory comes back to what it was.

    python -m tests.faults.memory_cycles [cycles]

Two copies of all-MiniLM-L6-v2 take turns in a cache with room for one. Afterwards the loaded one
is deleted, which must free it. glibc is told to give blocks back at once (by itself it keeps those
of a model's layers for the next one). Prints a line every ten cycles; exits non-zero on a fault.
"""

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from tests.faults.copies import cache, of_process, publish, vector
from tests.faults.soak import LIBRARIES
from tests.faults.upload_server import Running, running

WARM_UP = 10
MOST = 0.05  # of what it was after the warm-up
NAMES = ("one", "two")
FREED = 0.7  # of the bytes that a loaded copy has, at least, leave the process with it
SECONDS = 10.0  # until they have


def resident(server: Running) -> int:
    return of_process(server.process.pid, "VmRSS")


async def cycles(server: Running, count: int) -> bool:
    """Each one is a load and, but for the first, an eviction."""
    golden = {name: await vector(server, name) for name in NAMES}
    samples: list[int] = []
    same = True
    for number in range(1, WARM_UP + count + 1):
        name = NAMES[(number - 1) % 2]  # never the loaded one
        same &= bool(np.abs(await vector(server, name) - golden[name]).max() <= 1e-5)
        samples.append(resident(server))
        if number % 10 == 0:
            print(f"{number:4} cycles  resident {samples[-1] / 1e6:6.1f} MB")
    before, after = max(samples[WARM_UP - 2 : WARM_UP]), max(samples[-2:])
    grown = after / before - 1
    counters = (await cache(server))["counters"]
    print(f"after the warm-up {before / 1e6:.1f} MB, after {count} more {after / 1e6:.1f} MB: "
          f"{grown:+.1%} (at most {MOST:.0%}); same vectors {same}")  # fmt: skip
    print(f"loads {counters['loads']}, evictions {counters['evictions']}")
    cycled = counters["loads"] == WARM_UP + count + 2 and counters["evictions"] >= WARM_UP + count
    return same and cycled and grown <= MOST


async def deletion(server: Running) -> bool:
    """Whether a loaded model that is deleted leaves the cache, the memory and the list."""
    (loaded,) = (await cache(server))["models"]
    before, enough = resident(server), FREED * loaded["bytes"]
    gone = await server.client.delete(f"/models/{loaded['tag']}")
    freed, left = 0, [loaded]
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline and (left or freed < enough):
        left = (await cache(server))["models"]
        freed = before - resident(server)
        await asyncio.sleep(0.1)
    again = await server.client.post("/embeddings", json={"model": loaded["tag"], "input": "x"})
    print(f"delete: {gone.status_code}, then {again.status_code}; {len(left)} models loaded, "
          f"{freed / 1e6:.1f} MB freed of {before / 1e6:.1f} (at least {enough / 1e6:.1f})")  # fmt: skip
    told = (gone.status_code, again.status_code) == (200, 404)
    return told and not left and freed >= enough


async def run(count: int) -> int:
    os.environ.update(LIBRARIES | {"CACHE_MAX_MODELS": "1"})
    with tempfile.TemporaryDirectory() as place:
        async with running(Path(place)) as server:
            for name in NAMES:
                await publish(server, name)
            good = await cycles(server, count)
            good &= await deletion(server)
    print("good" if good else "FAILED")
    return 0 if good else 1


def main() -> None:
    sys.exit(asyncio.run(run(int(sys.argv[1]) if len(sys.argv) > 1 else 100)))


if __name__ == "__main__":
    main()
