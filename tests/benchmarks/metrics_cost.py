"""What /metrics costs: µs of the event loop per request, and milliseconds of a scrape.

    python -m tests.benchmarks.metrics_cost

Events of a short text that had a batch of its own, for one of 20 models and one of 20 callers; then
a page of 200 models.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from embedwell import BatchRun, Embedded, Event, RequestFinished
from embedwell.config.schema import Config, Server, Sources
from embedwell.testing import FakeBackend
from embedwell.testing.server import RunningServer, running_server

ROUNDS, TURNS = 7, 20_000


def request(number: int) -> Sequence[Event]:
    model, caller, seconds = f"owner/model-{number}", f"caller-{number % 20}", 0.004 + number / 1e5
    batch = BatchRun(
        at=0.0, model=model, items=1, requests=1, tokens=12, cost=12, seconds=seconds, outcome="ok"
    )
    embedded = Embedded(
        at=0.0,
        request_id="r",
        model=model,
        known=True,
        outcome="ok",
        inputs=1,
        tokens=12,
        truncated=0,
        tokenize_seconds=0.0001,
        queue_seconds=0.0002,
        inference_seconds=seconds,
        seconds=seconds,
        caller=caller,
    )
    finished = RequestFinished(
        at=0.0,
        request_id="r",
        method="POST",
        route="/v1/embeddings",
        status=200,
        seconds=seconds,
        model=model,
        caller=caller,
        inputs=1,
        tokens=12,
    )
    return batch, embedded, finished


def microseconds(server: RunningServer) -> float:
    """Of the plugin's own work for one request, the best of several rounds."""
    (plugin,) = [plugin for name, plugin in server.runtime.plugins if name == "metrics"]
    requests = [request(number) for number in range(20)]
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for turn in range(TURNS):
            for event in requests[turn % 20]:
                plugin.observe(event)
        best = min(best, time.perf_counter() - began)
    return best / TURNS * 1e6


async def scrape(server: RunningServer) -> tuple[float, int]:
    """Milliseconds and bytes of a page with 200 models, the best of several."""
    for number in range(200):
        for event in request(number):
            server.runtime.emit(event)
    best, size = float("inf"), 0
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as http:
        for _ in range(ROUNDS):
            began = time.perf_counter()
            size = len((await http.get("/metrics")).content)
            best = min(best, time.perf_counter() - began)
    return best * 1e3, size


@asynccontextmanager
async def a_server() -> AsyncIterator[RunningServer]:
    with TemporaryDirectory() as folder:
        settings = Config(
            server=Server(data_dir=str(Path(folder) / "data")),
            sources=Sources(tables={"huggingface": {"download": "never"}}),
        )
        async with running_server(settings, backend=FakeBackend()) as server:
            yield server


async def main() -> None:
    async with a_server() as server:
        print(f"{microseconds(server):.1f} µs per request, its batch included")
        took, size = await scrape(server)
        print(f"{took:.0f} ms per scrape of 200 models, {size / 1e6:.1f} MB, in a thread")


if __name__ == "__main__":
    asyncio.run(main())
