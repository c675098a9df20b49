"""Preload, status, clear, counters, aliases: over HTTP, with tiny models on a fake device."""

import asyncio
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from embedwell import EmbedwellError
from embedwell.config.schema import Cache, Engine
from embedwell.testing import FakeBackend
from embedwell.testing.server import RunningServer
from tests.e2e.conftest import Start

SLOW = 5 + 77  # the id of "w77" in the tiny tokeniser


def client(server: RunningServer) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=server.url, timeout=30)


async def embed(http: httpx.AsyncClient, model: str, text: str = "w1") -> httpx.Response:
    return await http.post("/embeddings", json={"model": model, "input": text})


async def finished(server: RunningServer, http: httpx.AsyncClient, answer: httpx.Response) -> Any:
    assert answer.status_code == 202, answer.text
    task = answer.json()["task"]["id"]
    with suppress(EmbedwellError):
        await server.runtime.tasks.result(task)
    seen = await http.get(answer.headers["location"])
    assert seen.json()["id"] == task
    return seen.json()


async def status(http: httpx.AsyncClient) -> dict[str, Any]:
    answer = await http.get("/embeddings/cache/status")
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


async def test_models_are_warmed_in_order_and_each_is_accounted_for(tiny: Start) -> None:
    backend = FakeBackend()
    async with tiny(backend, models=("a", "b", "c")) as server, client(server) as http:
        await embed(http, "b")
        body = {"models": ["b", "a", "nobody/none", "c"], "max_models": 2}
        answer = await http.post("/embeddings/preload", json=body)
        assert answer.json()["models"] == [
            {"model": "b", "status": "ready"},
            {"model": "a", "status": "queued"},
            {"model": "nobody/none", "status": "skipped"},
            {"model": "c", "status": "skipped"},
        ]
        done = await finished(server, http, answer)
        assert (done["status"], done["progress"]) == ("done", {"done": 1, "total": 1})
        assert backend.loads == ["b", "a"]
        answer = await http.post("/embeddings/preload", json={"models": ["nobody/none", "c"]})
        assert [row["status"] for row in answer.json()["models"]] == ["not_found", "queued"]
        assert (await finished(server, http, answer))["status"] == "done"
        assert backend.loads == ["b", "a", "c"]


async def test_a_preload_with_nothing_to_do_is_known_by_its_models(tiny: Start) -> None:
    async with tiny(FakeBackend(), models=("a", "b")) as server, client(server) as http:
        for name in ("a", "b"):
            await embed(http, name)
        answer = await http.post("/embeddings/preload", json={"models": ["a", "b"]})
        assert answer.json()["task"]["key"] == "a, b"
        assert (await finished(server, http, answer))["progress"] == {"done": 0, "total": 0}


async def test_without_names_the_most_used_models_are_warmed(tiny: Start) -> None:
    backend = FakeBackend()
    async with tiny(backend, models=("a", "b", "c")) as server, client(server) as http:
        for name in ("c", "c", "c", "a"):
            await embed(http, name)
        await http.post("/embeddings/cache/clear")
        backend.loads.clear()
        answer = await http.post("/embeddings/preload", json={})
        assert [row["model"] for row in answer.json()["models"]] == ["c", "a"]
        await finished(server, http, answer)
        assert backend.loads == ["c", "a"]


async def test_what_could_not_be_warmed_is_said(tiny: Start) -> None:
    backend = FakeBackend()
    backend.failures = [RuntimeError("broken")]
    async with tiny(backend, models=("a",)) as server, client(server) as http:
        answer = await http.post("/embeddings/preload", json={"models": ["a"]})
        done = await finished(server, http, answer)
        assert done["status"] == "failed"
        assert done["error"] == "Not loaded: a: Model loading failed: a"


@pytest.mark.parametrize(
    "body", [{"models": "a"}, {"models": ["a"] * 101}, {"models": ["../a"]}, {"max_models": -1}]
)
async def test_a_preload_that_is_wrong_is_refused(tiny: Start, body: dict[str, Any]) -> None:
    async with tiny(FakeBackend()) as server, client(server) as http:
        answer = await http.post("/embeddings/preload", json=body)
        assert (answer.status_code, answer.json()["code"]) == (422, "VALIDATION_ERROR")


async def test_the_status_tells_the_truth(tiny: Start) -> None:
    backend = FakeBackend()
    async with tiny(backend, models=("a", "b")) as server, client(server) as http:
        before = await status(http)
        assert before["models"] == []
        assert before["counters"] == {
            "hits": 0, "misses": 0, "loads": 0, "evictions": 0, "load_failures": 0
        }  # fmt: skip
        for name in ("a", "a", "b"):
            await embed(http, name)
        after = await status(http)
        assert (after["strategy"], after["settings"]["max_models"]) == ("fixed_size", 5)
        assert after["counters"] == {
            "hits": 1, "misses": 2, "loads": 2, "evictions": 0, "load_failures": 0
        }  # fmt: skip
        rows = {row["tag"]: row for row in after["models"]}
        assert {name: row["requests"] for name, row in rows.items()} == {"a": 2, "b": 1}
        assert {row["state"] for row in rows.values()} == {"ready"}
        assert {row["leases"] for row in rows.values()} == {0}
        assert abs(rows["a"]["last_used"] - time.time()) < 60
        memory = after["memory"]
        assert memory["used"] == backend.memory.taken
        assert memory["total"] == memory["used"] + memory["free"]
        assert memory["reserved"] >= sum(row["bytes"] for row in rows.values())


async def test_clearing_takes_idle_models_now_and_busy_ones_after_their_requests(
    tiny: Start,
) -> None:
    go, began = threading.Event(), threading.Event()

    def wait() -> None:
        began.set()
        go.wait()

    backend = FakeBackend(faults={SLOW: wait})
    async with tiny(backend, models=("a", "b")) as server, client(server) as http:
        await embed(http, "a")
        busy = asyncio.create_task(embed(http, "b", "w77"))
        await asyncio.to_thread(began.wait)
        cleared = await http.post("/embeddings/cache/clear")
        assert cleared.json() == {"cleared": ["a"], "draining": ["b"]}
        go.set()
        assert (await busy).status_code == 200
        while (await status(http))["models"]:
            await asyncio.sleep(0)
        assert backend.memory.taken == 0
        assert (await embed(http, "b")).status_code == 200
        backend.loads.clear()
        named = await http.post("/embeddings/cache/clear", json={"models": ["a", "b"]})
        assert named.json() == {"cleared": ["b"], "draining": []}


async def test_requests_are_counted_by_day_and_survive_a_restart(tiny: Start) -> None:
    today = datetime.now(UTC).strftime("%Y-%m-%d")
    async with tiny(FakeBackend(), models=("a", "b")) as server, client(server) as http:
        assert (await http.get("/embeddings/counter/nobody")).status_code == 404
        await http.get("/models")
        for text in ("w1", "w2", "w3"):
            await embed(http, "tiny:a", text)
        too_many = await http.post(
            "/embeddings", json={"model": "a", "input": "w1", "dimensions": 99}
        )
        assert too_many.status_code == 422
        await embed(http, "nobody")
    async with tiny(FakeBackend(), models=("a", "b")) as server, client(server) as http:
        days = (await http.get("/embeddings/counter/a")).json()
        assert list(days.values())[-1:] == [4]
        assert len(days) in (1, 2), "the test may run over midnight"
        assert (await http.get("/embeddings/counter/tiny%3Ab")).json()[today] == 0
        assert (await http.get("/embeddings/counter/nobody")).status_code == 404


async def test_an_alias_is_listed_and_served_as_its_target(tiny: Start) -> None:
    backend = FakeBackend()
    aliases = {"text-embedding-3-small": "a"}
    async with tiny(backend, models=("a",), aliases=aliases) as server, client(server) as http:
        listed = {row["id"]: row for row in (await http.get("/v1/models")).json()["data"]}
        assert listed["text-embedding-3-small"]["root"] == "a"
        assert "root" not in listed["a"]
        one = (await http.get("/models/text-embedding-3-small")).json()
        assert (one["id"], one["root"]) == ("text-embedding-3-small", "a")
        by_alias = (await embed(http, "text-embedding-3-small")).json()
        assert by_alias["model"] == "text-embedding-3-small"
        assert by_alias["data"] == (await embed(http, "a")).json()["data"]
        assert backend.loads == ["a"]
        counter = (await http.get("/embeddings/counter/text-embedding-3-small")).json()
        assert sum(counter.values()) == 2
        refused = await http.delete("/models/text-embedding-3-small")
        assert (refused.status_code, refused.json()["code"]) == (409, "CONFLICT")


async def test_models_of_the_configuration_are_warm_before_anybody_asks(tiny: Start) -> None:
    backend = FakeBackend()
    engine = Engine(device="cpu", dtype="float32", preload=("b", "a"))
    async with tiny(backend, models=("a", "b"), engine=engine) as server:
        (task,) = [t for t in server.runtime.tasks.list() if t.kind == "preload"]
        await server.runtime.tasks.result(task.id)
        assert backend.loads == ["b", "a"]


async def test_a_pinned_model_stays(tiny: Start) -> None:
    backend = FakeBackend()
    cache = Cache(safety_margin_gb=0.1, pinned=("a",), tables={"fixed_size": {"max_models": 2}})
    async with tiny(backend, models=("a", "b", "c"), cache=cache) as server, client(server) as http:
        for name in ("a", "b", "c", "b"):
            assert (await embed(http, name)).status_code == 200
        assert backend.loads == ["a", "b", "c", "b"]
        rows = {row["tag"]: row for row in (await status(http))["models"]}
        assert {name: row["pinned"] for name, row in rows.items()} == {"a": True, "b": False}


async def test_a_read_only_model_is_not_deleted(tiny: Start) -> None:
    async with tiny(FakeBackend()) as server, client(server) as http:
        answer = await http.delete("/v1/models/tiny")
        assert (answer.status_code, answer.json()["code"]) == (409, "CONFLICT")
        assert (await http.delete("/models/nobody")).status_code == 404
        assert (await embed(http, "tiny")).status_code == 200
