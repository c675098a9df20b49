"""Kill a busy server twenty times: a second one is refused, and every restart serves the same.

    python -m tests.faults.restarts [rounds]

Starts real servers on a folder of its own; prints one line a round, exits non-zero on a fault.
"""

import asyncio
import io
import random
import signal
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import httpx

from tests.e2e.minilm import MINILM, model_files
from tests.faults.served import command, served

MODELS = (MINILM, "uploaded")
CLIENTS = 4
Golden = dict[str, list[float]]


async def vector(client: httpx.AsyncClient, model: str, text: str = "one text") -> list[float]:
    answer = await client.post("/embeddings", json={"model": model, "input": text})
    answer.raise_for_status()
    row: list[float] = answer.json()["data"][0]["embedding"]
    return row


async def upload(client: httpx.AsyncClient) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, data in model_files().items():
            archive.writestr(name, data)
    sent = await client.put(
        "/models/upload", params={"model": "uploaded"}, content=packed.getvalue()
    )
    sent.raise_for_status()


async def load(client: httpx.AsyncClient) -> None:
    """Requests until the server is gone."""
    try:
        while True:
            await vector(client, random.choice(MODELS), f"text {random.randrange(99)}")
    except httpx.TransportError:
        return


async def refused(folder: Path) -> bool:
    """Whether a second server on the same data directory ends at once, with exit code 2."""
    second = await asyncio.create_subprocess_exec(
        *command(), cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    _, errors = await asyncio.wait_for(second.communicate(), 60)
    return second.returncode == 2 and b"another server uses" in errors


async def check(client: httpx.AsyncClient, golden: Golden) -> bool:
    for model in MODELS:
        now = await vector(client, model)
        if max(abs(a - b) for a, b in zip(now, golden.setdefault(model, now), strict=True)) > 1e-5:
            return False
    return True


async def one_round(folder: Path, number: int, golden: Golden) -> bool:
    async with (
        served(folder) as server,
        httpx.AsyncClient(base_url=server.url, timeout=60) as client,
    ):
        if number == 0:
            await upload(client)
        good = await check(client, golden)
        second = await refused(folder) if number % 10 == 0 else True
        working = [asyncio.create_task(load(client)) for _ in range(CLIENTS)]
        await asyncio.sleep(random.uniform(0.05, 1.0))
        server.process.send_signal(signal.SIGKILL)
        await asyncio.gather(*working)
    staging = len([*(folder / "data" / "staging").iterdir()])
    took = f"ready in {server.seconds:4.1f} s"
    print(f"{number:2}  {took}  same vectors {good}  second refused {second}")
    return good and second and server.seconds < 10 and staging == 0


async def run(rounds: int) -> int:
    golden: Golden = {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        results = [await one_round(folder, number, golden) for number in range(rounds)]
    print(f"{sum(results)} of {rounds} rounds without a fault")
    return 0 if all(results) else 1


def main() -> None:
    sys.exit(asyncio.run(run(int(sys.argv[1]) if len(sys.argv) > 1 else 20)))


if __name__ == "__main__":
    main()
