"""Loads that fail, that hang, that are slow: who waits is told, and other models go on."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from embedwell.config.schema import Cache
from embedwell.interfaces.encoders import DeviceOutOfMemory
from embedwell.interfaces.events import LoadFailed
from embedwell.loads import LOADS
from embedwell.testing import FakeBackend
from embedwell.testing.server import RunningServer
from tests.e2e.conftest import Start
from tests.faults.fake_serve import Panic
from tests.faults.unharmed import code, unharmed, until
from tests.sources.upload_driver import packed, site


@asynccontextmanager
async def client(server: RunningServer) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as http:
        yield http


async def embed(http: httpx.AsyncClient, model: str, **headers: str) -> httpx.Response:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return await http.post("/embeddings", json={"model": model, "input": "w1"}, headers=given)


def waiting(server: RunningServer, model: str) -> int:
    return sum(len(r.waiters) for r in server.runtime.cache.residents() if r.tag == model)


@pytest.mark.parametrize(
    ("errors", "status", "told"),
    [
        ([OSError("read error")], 500, "MODEL_ERROR"),
        ([RuntimeError("broken")], 500, "MODEL_ERROR"),
        ([Panic("at src/lib.rs")], 500, "MODEL_ERROR"),
        ([MemoryError(), DeviceOutOfMemory("no room")], 503, "MEMORY_ERROR"),
    ],
)
async def test_a_load_that_fails_is_told_to_all_and_tried_again_later(
    tiny: Start, errors: list[BaseException], status: int, told: str
) -> None:
    backend = FakeBackend()
    async with tiny(backend, models=["tiny", "other"]) as server, unharmed(server):
        backend.gate.clear()
        backend.failures = list(errors)
        async with client(server) as http:
            waits = [asyncio.create_task(embed(http, "other")) for _ in range(20)]
            await until(lambda: waiting(server, "other") == 20)
            backend.gate.set()
            answers = await asyncio.gather(*waits)
            assert {(a.status_code, code(a)) for a in answers} == {(status, told)}
            assert len(backend.loads) == 1 + len(errors)
            async with asyncio.timeout(30):
                while (again := await embed(http, "other")).status_code != 200:
                    assert (again.status_code, code(again)) == (status, told)
                    await asyncio.sleep(0.05)


async def test_one_lack_of_memory_is_met_by_letting_idle_models_go(tiny: Start) -> None:
    backend = FakeBackend()
    async with tiny(backend, models=["tiny", "other"]) as server, unharmed(server):
        backend.failures = [DeviceOutOfMemory("no room")]
        async with client(server) as http:
            assert (await embed(http, "other")).status_code == 200
            assert [r.tag for r in server.runtime.cache.residents()] == ["other"]


async def test_a_load_that_hangs_costs_its_model_alone(tiny: Start) -> None:
    """Also as many of them as there are places to load in."""
    stuck = [f"stuck{i}" for i in range(LOADS)]
    free = threading.Event()
    backend = FakeBackend()
    backend.load_faults = dict.fromkeys(stuck, free.wait)
    cache = Cache(safety_margin_gb=0.1, load_timeout=1.0)
    async with (
        tiny(backend, models=["tiny", "other", *stuck], cache=cache) as server,
        unharmed(server),
        client(server) as http,
    ):
        one = server.runtime.cache.memory().reserved
        early = asyncio.create_task(embed(http, stuck[0], x_request_timeout="0.2"))
        waits = [asyncio.create_task(embed(http, name)) for name in stuck * 5]
        other = asyncio.create_task(embed(http, "other"))
        answers = await asyncio.gather(*waits)
        assert (await early).status_code == 504
        assert {(a.status_code, code(a)) for a in answers} == {(503, "LOADING")}
        assert "was not there within 1 s" in answers[0].json()["detail"]
        assert (await other).status_code == 200
        at_once = await embed(http, stuck[0])
        assert (at_once.status_code, at_once.headers["retry-after"]) == (503, "60")
        assert (await http.get("/ready")).status_code == 200
        assert backend.loads.count(stuck[0]) == 1, "no second load beside the first"
        assert server.runtime.cache.memory().reserved > 3 * one, "they are charged for"
        free.set()
        async with asyncio.timeout(30):
            while (await embed(http, stuck[0])).status_code != 200:
                await asyncio.sleep(0.05)
        await until(lambda: sum(e.closed for e in backend.encoders) == LOADS)
        await until(lambda: not server.runtime.cache._books.overdue)


async def test_a_model_that_is_deleted_while_nobody_waits_for_its_load_keeps_its_files_until_then(
    tmp_path: Path,
) -> None:
    backend, kept = FakeBackend(), list[bool]()
    backend.gate.clear()
    archive = packed(tmp_path)
    async with site(tmp_path, backend=backend) as running:
        assert (await running.put("mine", archive)).status_code == 201
        (folder,) = (running.data / "models").glob("*/files")
        backend.load_faults = {"files": lambda: kept.append((folder / "config.json").exists())}
        assert (await embed(running.client, "mine", x_request_timeout="0.2")).status_code == 504
        assert (await running.client.delete("/models/mine")).status_code == 200
        other = packed(tmp_path, prompts={"query": "w2 "})
        assert (await running.put("other", other)).status_code == 201  # erasing had its turn
        assert (await running.put("mine", archive)).status_code == 201
        assert (await running.client.delete("/models/mine")).status_code == 200
        backend.gate.set()
        await until(lambda: not running.server.runtime.cache.residents())
        assert kept == [True]
        await until(lambda: not folder.exists())
        assert not any(isinstance(event, LoadFailed) for event in running.server.events)
        assert (await running.put("mine", archive)).status_code == 201
        assert (await embed(running.client, "mine")).status_code == 200
