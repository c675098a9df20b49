"""What /metrics says of a server that has done this and that."""

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from embedwell import (
    Caller,
    EmbeddingCall,
    ModelNotFound,
    ModelRef,
    Plugin,
    PluginSpec,
    RequestFinished,
    RequestHead,
    WorkerReplaced,
    hookimpl,
)
from embedwell.config.schema import Cache
from embedwell.interfaces.events import Embedded
from embedwell.testing import FakeBackend
from embedwell.testing.server import RunningServer, running_server
from tests.e2e.conftest import Start, config
from tests.faults.fake_models import Nothing, TinyModels
from tests.plugins.metrics.scraping import Page, scrape

FAULT = 5 + 77  # the id of "w77" in the tiny tokeniser
STAGES = ("", "_queue", "_tokenization", "_inference")


def client(server: RunningServer) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=server.url, timeout=60)


async def embed(http: httpx.AsyncClient, model: str, given: Any = "w1") -> httpx.Response:
    return await http.post("/embeddings", json={"model": model, "input": given})


def breaks() -> None:
    raise RuntimeError("broken")


async def test_the_numbers_add_up(tiny: Start) -> None:
    async with tiny(FakeBackend(faults={FAULT: breaks})) as server, client(server) as http:
        inputs: list[Any] = ["w1", ["w1", "w2 w3"], [[7, 8, 9]], "w1 " * 100] * 5
        answers = await asyncio.gather(*[embed(http, "tiny", given) for given in inputs])
        tokens = sum(answer.json()["usage"]["prompt_tokens"] for answer in answers)
        assert (await embed(http, "tiny", "w77")).status_code == 500
        assert (await embed(http, "nobody")).status_code == 404
        assert (await http.post("/embeddings", json={"model": "tiny"})).status_code == 422
        assert (await http.get("/nothing")).status_code == 404
        async with asyncio.timeout(30):
            while sum(isinstance(event, RequestFinished) for event in server.events) < 24:
                await asyncio.sleep(0)
        page = await scrape(http)
    total = page.total
    assert total("embedwell_requests_total", model="tiny", outcome="ok") == 20
    assert total("embedwell_requests_total", model="tiny", outcome="MODEL_ERROR") == 1
    assert total("embedwell_requests_total", model="unknown", outcome="NOT_FOUND") == 1
    assert total("embedwell_requests_total") == 22
    assert total("embedwell_prompt_tokens_total", model="tiny") == tokens
    assert total("embedwell_inputs_total", model="tiny") == 25
    assert total("embedwell_truncated_inputs_total", model="tiny") == 5
    for stage in STAGES:
        assert total(f"embedwell_request{stage}_duration_seconds_count", model="tiny") == 20
    seconds = [total(f"embedwell_request{stage}_duration_seconds_sum") for stage in STAGES]
    assert 0 < sum(seconds[1:]) <= seconds[0]
    assert total("embedwell_batch_tokens_sum", model="tiny") == tokens
    assert total("embedwell_batch_inputs_sum", model="tiny") == 25
    ok = total("embedwell_batches_total", model="tiny", outcome="ok")
    assert 0 < ok == total("embedwell_batch_duration_seconds_count", model="tiny")
    assert total("embedwell_batches_total", outcome="error") == 1
    assert total("embedwell_batch_padding_tokens_total", model="tiny") == 0
    served = {"route": "/embeddings", "method": "POST"}
    assert total("embedwell_http_requests_total", status="2xx", **served) == 20
    assert total("embedwell_http_requests_total", status="4xx", **served) == 2
    assert total("embedwell_http_requests_total", status="5xx", **served) == 1
    assert total("embedwell_http_requests_total", route="unmatched", status="4xx") == 1
    assert total("embedwell_http_request_duration_seconds_count", **served) == 23
    assert (
        total("embedwell_model_cache_misses_total") + total("embedwell_model_cache_hits_total")
        == 21
    )


async def test_the_state_of_the_server(tiny: Start) -> None:
    async with tiny(FakeBackend()) as server, client(server) as http:
        before = await scrape(http)
        await embed(http, "tiny")
        page = await scrape(http)
        info = (await http.get("/info")).json()
    assert before.total("embedwell_ready") == 1
    assert before.total("embedwell_models") == 0
    assert page.total("embedwell_models", state="ready") == page.total("embedwell_models") == 1
    resident = server.runtime.cache.residents()[0]
    assert page.total("embedwell_model_resident_bytes", model="tiny") == resident.need.weights
    assert page.total("embedwell_model_load_duration_seconds_count", model="tiny") == 1
    assert page.total("embedwell_model_memory_estimate_ratio", model="tiny") == 1
    assert page.total("embedwell_model_leases") == 0
    assert page.total("embedwell_device_memory_size_bytes") == 10_000_000_000
    assert page.total("embedwell_device_memory_used_bytes") == resident.need.weights
    assert page.total("embedwell_device_memory_reserved_bytes") > resident.need.weights
    assert page.total("embedwell_http_requests_in_flight") == 1
    (build,) = [sample.labels for sample in page.samples if sample.name == "embedwell_build_info"]
    assert build["device"] == "fake"
    assert build["version"] == info["version"]
    assert build["torch"] == info["libraries"]["torch"]
    assert page.total("process_resident_memory_bytes") > 1_000_000
    assert page.total("process_open_fds") > 3
    assert {"process_cpu_seconds_total", "python_gc_collections_total", "python_info"} <= page.names


async def test_a_queue_that_does_not_move_is_seen(tiny: Start) -> None:
    began, go = threading.Event(), threading.Event()

    def holds() -> None:
        began.set()
        go.wait()

    async with tiny(FakeBackend(faults={FAULT: holds})) as server, client(server) as http:
        running = asyncio.create_task(embed(http, "tiny", ["w77 w1", "w1"]))
        try:
            await asyncio.to_thread(began.wait, 30)
            first, second = await scrape(http), await scrape(http)
        finally:
            go.set()
        tokens = (await running).json()["usage"]["prompt_tokens"]
        after = await scrape(http)
    assert first.total("embedwell_queue_requests") == 1
    assert first.total("embedwell_queue_inputs") == 2
    assert first.total("embedwell_queue_tokens") == tokens
    assert first.total("embedwell_model_leases", model="tiny") >= 1
    assert first.total("embedwell_http_requests_in_flight") == 2
    ages = [page.total("embedwell_queue_oldest_age_seconds") for page in (first, second)]
    assert 0 < ages[0] < ages[1]
    for name in ("requests", "inputs", "tokens", "oldest_age_seconds"):
        assert after.total(f"embedwell_queue_{name}") == 0


async def test_models_that_leave_take_their_gauges_along(tiny: Start) -> None:
    cache = Cache(safety_margin_gb=0.1, tables={"fixed_size": {"max_models": 1}})
    gauges = ("resident_bytes", "leases", "memory_estimate_ratio")
    async with (
        tiny(FakeBackend(), models=("a", "b"), cache=cache) as server,
        client(server) as http,
    ):
        for model in ("a", "b"):
            assert (await embed(http, model)).status_code == 200
        page = await scrape(http)
        await http.post("/embeddings/cache/clear")
        cleared = await scrape(http)
    for gauge in gauges:
        assert page.labels(f"embedwell_model_{gauge}", "model") == {"b"}
        assert cleared.labels(f"embedwell_model_{gauge}", "model") == set()
    assert page.total("embedwell_model_evictions_total", model="a", reason="room") == 1
    assert cleared.total("embedwell_model_evictions_total", model="b", reason="cleared") == 1
    assert cleared.total("embedwell_requests_total", model="a") == 1, "what was counted stays"


async def test_one_of_many_that_leaves_takes_nothing_of_the_others(tiny: Start) -> None:
    plugins = {"metrics": {"max_models": 1}}
    async with (
        tiny(FakeBackend(), models=("a", "b", "c"), plugins=plugins) as server,
        client(server) as http,
    ):
        for model in ("a", "b", "c"):
            assert (await embed(http, model)).status_code == 200
        await http.post("/embeddings/cache/clear", json={"models": ["b"]})
        page = await scrape(http)
    for gauge in ("resident_bytes", "memory_estimate_ratio"):
        assert page.labels(f"embedwell_model_{gauge}", "model") == {"a", "other"}
    assert page.total("embedwell_model_evictions_total", model="other") == 1


async def test_a_model_that_is_deleted_is_gone_too(tiny: Start, tmp_path: Path) -> None:
    from tests.e2e.test_what_changes_is_told import upload

    async with tiny(FakeBackend()) as server, client(server) as http:
        assert (await upload(http, "mine", tmp_path)).status_code == 201
        await embed(http, "mine")
        before = await scrape(http)
        assert (await http.delete("/models/mine")).status_code == 200
        await http.post("/embeddings/cache/clear")  # returns when what leaves is gone
        after = await scrape(http)
    name = "embedwell_model_resident_bytes"
    assert before.labels(name, "model") == {"mine"}
    assert after.labels(name, "model") == set()
    assert after.total("embedwell_model_evictions_total", model="mine", reason="replaced") == 1


async def test_loads_and_batches_that_fail(tiny: Start) -> None:
    backend = FakeBackend(capacity=8)
    backend.failures = [RuntimeError("broken")]
    async with tiny(backend, models=("a", "b")) as server, client(server) as http:
        assert (await embed(http, "a")).status_code == 500
        assert (await embed(http, "b", ["w1 w2 w3"] * 4)).status_code == 200
        server.runtime.emit(WorkerReplaced(at=0.0, device="fake", lost=1))
        page = await scrape(http)
    assert page.total("embedwell_model_load_failures_total", model="a", code="MODEL_ERROR") == 1
    assert page.total("embedwell_batches_total", model="b", outcome="out_of_memory") >= 1
    assert page.total("embedwell_batch_inputs_sum", model="b") == 4
    assert page.total("embedwell_worker_replacements_total") == 1
    assert page.total("embedwell_models", state="failed") == 1


async def test_background_work_is_counted(tiny: Start) -> None:
    async with tiny(FakeBackend()) as server, client(server) as http:
        answer = await http.post("/embeddings/preload", json={"models": ["tiny"]})
        await server.runtime.tasks.result(answer.json()["task"]["id"])
        page = await scrape(http)
    assert page.total("embedwell_tasks_total", kind="preload", status="done") == 1


async def test_a_client_that_left_is_counted_as_that(tiny: Start) -> None:
    began, go = threading.Event(), threading.Event()

    def holds() -> None:
        began.set()
        go.wait()

    async with tiny(FakeBackend(faults={FAULT: holds})) as server, client(server) as http:
        async with client(server) as impatient:
            leaving = asyncio.create_task(embed(impatient, "tiny", "w77"))
            await asyncio.to_thread(began.wait, 30)
            leaving.cancel()
        try:
            async with asyncio.timeout(30):
                while not any(getattr(e, "outcome", "") == "cancelled" for e in server.events):
                    await http.get("/health")
        finally:
            go.set()
        page = await scrape(http)
    assert page.total("embedwell_requests_total", model="tiny", outcome="cancelled") == 1


async def test_names_that_clients_make_up_make_no_series(tiny: Start) -> None:
    async with tiny(FakeBackend()) as server, client(server) as http:
        await embed(http, "tiny")
        await http.request("BREW", "/nothing")
        before = await scrape(http)
        for number in range(10_000):
            call = EmbeddingCall(ref=ModelRef(f"made-up-{number}"), texts=("w1",), timeout=60)
            with pytest.raises(ModelNotFound):
                await server.runtime.embedder.embed(call)
        for number in range(50):
            assert (await embed(http, f"other/{number}")).status_code == 404
            assert (await http.get(f"/nothing/{number}")).status_code == 404
            assert (await http.request(f"BREW{number}", "/nothing")).status_code == 404
        after = await scrape(http)
    assert after.total("embedwell_requests_total", model="unknown", outcome="NOT_FOUND") == 10_050
    assert after.labels("embedwell_requests_total", "model") == {"tiny", "unknown"}
    assert after.total("embedwell_http_requests_total", method="other", route="unmatched") == 51
    new = {str(s._replace(value=0)) for s in after.samples} - {
        str(s._replace(value=0)) for s in before.samples
    }
    assert len(new) < 100, "a few routes and outcomes that were not there before"


def answered(model: str, caller: str) -> Embedded:
    return Embedded(
        at=0.0,
        request_id="r",
        model=model,
        known=True,
        outcome="ok",
        inputs=1,
        tokens=2,
        truncated=0,
        tokenize_seconds=0.0,
        queue_seconds=0.0,
        inference_seconds=0.0,
        seconds=0.0,
        caller=caller,
    )


async def test_only_so_many_models_and_callers_have_series_of_their_own(tiny: Start) -> None:
    plugins = {"metrics": {"max_models": 3, "max_callers": 2}}
    async with tiny(FakeBackend(), plugins=plugins) as server, client(server) as http:
        for number in range(1_000):
            server.runtime.emit(answered(f"m{number}", f"c{number}"))
        page = await scrape(http)
    tokens, callers = "embedwell_prompt_tokens_total", "embedwell_caller_prompt_tokens_total"
    assert page.labels(tokens, "model") == {"m0", "m1", "m2", "other"}
    assert page.total(tokens, model="other") == 2 * 997
    assert page.labels(callers, "caller") == {"c0", "c1", "other"}
    assert page.total(callers, caller="other") == 2 * 998
    assert page.total("embedwell_caller_requests_total") == 1_000


class Named(Plugin):
    """A guard that believes whatever it is told."""

    async def guard(self, head: RequestHead) -> Caller | None:
        return Caller(head.headers.get(b"x-name", b"nobody").decode())


class Naming:
    @hookimpl
    def register_plugins(self) -> Sequence[PluginSpec[Any]]:
        return [PluginSpec(name="naming", summary="tests", config=Nothing, build=Named)]


async def test_callers_are_told_apart(tiny: Start, tmp_path: Path) -> None:
    async with tiny(FakeBackend()):
        pass  # which makes the folder
    modules = [TinyModels(tmp_path / "models"), Naming()]
    async with (
        running_server(config(tmp_path), modules=modules, backend=FakeBackend()) as server,
        client(server) as http,
    ):
        body = {"model": "tiny", "input": "w1 w2"}
        for name in ("alice", "alice", "bob"):
            await http.post("/embeddings", json=body, headers={"x-name": name})
        body["model"] = "nobody"
        await http.post("/embeddings", json=body, headers={"x-name": "bob"})
        page = await scrape(http)
    requests, tokens = "embedwell_caller_requests_total", "embedwell_caller_prompt_tokens_total"
    assert [page.total(requests, caller=name) for name in ("alice", "bob")] == [2, 2]
    assert [page.total(tokens, caller=name) for name in ("alice", "bob")] == [8, 4]


async def test_two_servers_in_one_process_count_apart(tmp_path: Path) -> None:
    from embedwell.testing import make_model_folder

    pages: list[Page] = []
    settings = []
    for name in ("one", "two"):
        make_model_folder(tmp_path / name / "models" / "tiny")
        settings.append((config(tmp_path / name), TinyModels(tmp_path / name / "models")))
    (first, its), (second, theirs) = settings
    async with (
        running_server(first, modules=[its], backend=FakeBackend()) as one,
        running_server(second, modules=[theirs], backend=FakeBackend()) as two,
        client(one) as to_one,
        client(two) as to_two,
    ):
        await embed(to_one, "tiny")
        pages = [await scrape(to_one), await scrape(to_two)]
    assert [page.total("embedwell_requests_total") for page in pages] == [1, 0]


OPEN = "application/openmetrics-text; version=1.0.0; charset=utf-8"


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2", OPEN),
        ("application/openmetrics-text;version=abc", OPEN),
        ("text/plain;version=abc", "text/plain; version=0.0.4; charset=utf-8"),
        ("*/*", "text/plain; version=0.0.4; charset=utf-8"),
    ],
)
async def test_who_accepts_openmetrics_gets_it(tiny: Start, accept: str, kind: str) -> None:
    async with tiny(FakeBackend()) as server, client(server) as http:
        await embed(http, "tiny")
        answer = await http.get("/metrics", headers={"accept": accept})
        head = await http.head("/metrics")
    assert (answer.status_code, answer.headers["content-type"]) == (200, kind)
    assert head.status_code == 200
    if kind == OPEN:
        names = {family.name for family in text_string_to_metric_families(answer.text)}  # type: ignore[no-untyped-call]
        assert {"embedwell_requests", "embedwell_build", "process_resident_memory_bytes"} <= names
    assert "_created" not in answer.text


async def test_a_device_that_is_broken_is_not_ready(tiny: Start) -> None:
    backend = FakeBackend(faults={FAULT: breaks})
    async with tiny(backend) as server, client(server) as http:
        backend.broken = RuntimeError("no device")
        assert (await embed(http, "tiny", "w77")).status_code == 500
        broken = await scrape(http)
        backend.broken = None
        mended = await scrape(http)
    assert (broken.total("embedwell_ready"), mended.total("embedwell_ready")) == (0, 1)


async def test_padding_is_counted(tiny: Start) -> None:
    from embedwell.interfaces.events import BatchRun

    run = BatchRun(
        at=0.0, model="m", items=2, requests=1, tokens=30, cost=40, seconds=0.1, outcome="ok"
    )
    async with tiny(FakeBackend()) as server, client(server) as http:
        server.runtime.emit(run)
        page = await scrape(http)
    assert page.total("embedwell_batch_padding_tokens_total", model="m") == 10


async def test_the_route_wants_the_scope_of_metrics(tiny: Start) -> None:
    async with tiny(FakeBackend()) as server:
        (route,) = [r for r in server.runtime.routes if getattr(r, "path", "") == "/metrics"]
    assert route.access == "metrics"
