"""Clients that leave, inputs that break the model, inputs that block it: over HTTP."""

import asyncio
import threading
from typing import Any

import httpx
import pytest

from embedwell import BatchRun, Embedded, ModelLoaded
from embedwell.config.schema import Batching
from embedwell.testing import FakeBackend
from embedwell.testing.server import RunningServer
from tests.e2e.conftest import Start

POISON = 5 + 66  # the id of "w66" in the tiny tokeniser


def client(server: RunningServer) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=200)
    return httpx.AsyncClient(base_url=server.url, timeout=30, limits=limits)


async def embed(http: httpx.AsyncClient, text: Any, model: str = "tiny") -> httpx.Response:
    return await http.post("/embeddings", json={"model": model, "input": text})


async def check_serving(http: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(*(embed(http, f"w{i % 60}") for i in range(100)))
    assert [answer.status_code for answer in answers] == [200] * 100
    assert (await http.get("/ready")).status_code == 200


async def test_sixty_four_clients_share_batches_and_each_gets_its_own(tiny: Start) -> None:
    async with tiny(FakeBackend()) as server, client(server) as http:
        texts = [" ".join([f"w{i}"] * (i % 5 + 1)) for i in range(64)]  # lengths differ
        singles = [(await embed(http, text)).json()["data"][0] for text in texts]
        asked = [[texts[(i + j) % 64] for j in range(3)] for i in range(64)]
        answers = await asyncio.gather(*(embed(http, three) for three in asked))
        for i, answer in enumerate(answers):
            got = [row["embedding"] for row in answer.json()["data"]]
            assert got == [singles[(i + j) % 64]["embedding"] for j in range(3)]
        runs = [event for event in server.events if isinstance(event, BatchRun)]
        assert max(run.requests for run in runs) > 1


async def test_a_hundred_first_requests_load_the_model_once(tiny: Start) -> None:
    backend = FakeBackend()
    async with tiny(backend) as server, client(server) as http:
        answers = await asyncio.gather(*(embed(http, "w1") for _ in range(100)))
        assert {answer.status_code for answer in answers} == {200}
        assert len(backend.loads) == 1
        assert sum(isinstance(event, ModelLoaded) for event in server.events) == 1


async def test_a_client_that_leaves_while_its_model_loads(tiny: Start) -> None:
    backend = FakeBackend()
    backend.gate.clear()
    async with tiny(backend) as server, client(server) as http:
        leaver = asyncio.create_task(embed(http, "w1"))
        await asyncio.to_thread(backend.loading.wait)
        others = [asyncio.create_task(embed(http, f"w{i}")) for i in range(9)]
        leaver.cancel()
        while not any(isinstance(e, Embedded) and e.outcome == "cancelled" for e in server.events):
            await asyncio.sleep(0)
        backend.gate.set()
        answers = await asyncio.gather(*others)
        assert {answer.status_code for answer in answers} == {200}
        assert len(backend.loads) == 1
        assert [r.leases for r in server.runtime.cache.residents()] == [0]


async def test_a_client_that_leaves_while_its_text_is_queued(tiny: Start) -> None:
    go, began = threading.Event(), threading.Event()

    def wait() -> None:
        began.set()
        go.wait()

    async with tiny(FakeBackend(faults={POISON: wait})) as server, client(server) as http:
        slow = asyncio.create_task(embed(http, "w66"))
        await asyncio.to_thread(began.wait)
        leaver = asyncio.create_task(embed(http, "w1"))
        stayer = asyncio.create_task(embed(http, "w2"))
        while server.runtime.batcher.queued_tokens < 9:
            await asyncio.sleep(0)
        leaver.cancel()
        while not any(isinstance(e, Embedded) and e.outcome == "cancelled" for e in server.events):
            await asyncio.sleep(0)
        go.set()
        assert (await slow).status_code == (await stayer).status_code == 200
        assert server.runtime.batcher.queued_tokens == 0


@pytest.mark.parametrize("error", [ValueError("bad"), KeyboardInterrupt(), SystemExit(1)])
async def test_a_text_on_which_the_model_raises(tiny: Start, error: BaseException) -> None:
    def fail() -> None:
        raise error

    async with tiny(FakeBackend(faults={POISON: fail})) as server, client(server) as http:
        texts = [f"w{i}" for i in range(20)] + ["w66"]
        answers = await asyncio.gather(*(embed(http, text) for text in texts))
        assert [answer.status_code for answer in answers] == [200] * 20 + [500]
        body = answers[-1].json()
        assert body["code"] == "MODEL_ERROR"
        assert body["error"]["message"] == body["detail"]
        await check_serving(http)


async def test_a_text_on_which_the_model_hangs(tiny: Start) -> None:
    stuck = threading.Event()

    def hang() -> None:
        stuck.wait()

    backend = FakeBackend(faults={POISON: hang})
    settings = Batching(batch_timeout=0.3)
    async with tiny(backend, batching=settings) as server, client(server) as http:
        texts = ["w1", "w66", "w2"]
        answers = await asyncio.gather(*(embed(http, text) for text in texts))
        assert [answer.status_code for answer in answers] == [200, 504, 200]
        assert answers[1].json()["code"] == "TIMEOUT"
        await check_serving(http)
        stuck.set()


async def test_ready_tells_the_truth(tiny: Start) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    backend = FakeBackend(faults={POISON: fail})
    async with tiny(backend) as server, client(server) as http:
        assert (await http.get("/ready")).status_code == 200
        backend.broken = RuntimeError("the device is gone")
        assert (await embed(http, "w66")).status_code == 500
        refused = await http.get("/ready")
        assert refused.status_code == 503
        assert "device" in refused.text
        assert (await http.get("/health")).status_code == 200
        backend.broken = None
        assert (await http.get("/ready")).status_code == 200


async def test_memory_that_does_not_suffice(tiny: Start) -> None:
    backend = FakeBackend()
    backend.memory.total = 100_000_000
    async with tiny(backend) as server, client(server) as http:
        answer = await embed(http, "w1")
        assert answer.status_code == 503
        assert answer.json()["code"] == "MEMORY_ERROR"
        assert answer.json()["detail"].startswith("Model loading failed: ")
        assert answer.headers["x-should-retry"] == "false"
