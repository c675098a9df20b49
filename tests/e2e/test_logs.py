"""What the server writes: one line a request, never a word of an input, nothing forged."""

import asyncio
import io
import json
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from embedwell.config.schema import Batching, Server
from embedwell.logs import Console, Json
from embedwell.testing import FakeBackend
from embedwell.testing.server import RunningServer
from tests.e2e.conftest import Start
from tests.e2e.test_serve import process

CANARY = "canary7f3a"
FAULT, HANG = 5 + 77, 5 + 78  # the ids of "w77" and "w78" in the tiny tokeniser
FORGED = "x\r\n12:00:00 INFO    embedwell.access  GET /forged 200 1.0 ms\x1b[2J\u2028\x85"


class Output:
    """Everything that is logged, at every level, as both formats write it."""

    def __init__(self) -> None:
        self.console, self.json = io.StringIO(), io.StringIO()

    @property
    def entries(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.json.getvalue().splitlines()]

    @property
    def requests(self) -> list[dict[str, Any]]:
        return [entry for entry in self.entries if entry["logger"] == "embedwell.access"]

    @property
    def text(self) -> str:
        return self.console.getvalue() + self.json.getvalue()


@pytest.fixture
def output() -> Iterator[Output]:
    """Until the test is over the root logger takes everything."""
    made = Output()
    root, ours = logging.getLogger(), logging.getLogger("embedwell")
    handlers: list[logging.Handler] = []
    for stream, formatter in ((made.console, Console()), (made.json, Json())):
        handlers.append(logging.StreamHandler(stream))
        handlers[-1].setFormatter(formatter)
        root.addHandler(handlers[-1])
    levels = [(logger, logger.level) for logger in (root, ours)]
    for logger, _ in levels:
        logger.setLevel(logging.DEBUG)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # of the test's own client
    logging.getLogger("httpcore").setLevel(logging.WARNING)
    yield made
    for logger, level in levels:
        logger.setLevel(level)
    for handler in handlers:
        root.removeHandler(handler)


def client(server: RunningServer) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=server.url, timeout=60)


def breaks() -> None:
    raise RuntimeError("broken")


async def post(http: httpx.AsyncClient, body: Any, **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    given = {"content-type": "application/json"} | {
        k.replace("_", "-"): v for k, v in headers.items()
    }
    return await http.post("/embeddings", content=content, headers=given)


CALLS: list[tuple[int, Any, dict[str, str]]] = [
    (200, {"model": "tiny", "input": CANARY}, {}),
    (200, {"model": "tiny", "input": [CANARY, f"{CANARY} " * 100]}, {}),
    (404, {"model": "nobody", "input": CANARY}, {}),
    (422, {"model": "not a tag", "input": CANARY}, {}),
    (422, {"model": "tiny", "input": CANARY, "dimensions": 10_000}, {}),
    (422, {"model": "tiny", "input": CANARY, "prompt_name": "none"}, {}),
    (422, {"model": "tiny", "input": CANARY, "encoding_format": "hex"}, {}),
    (422, {"model": "tiny", "input": [CANARY, 5]}, {}),
    (422, {"model": "tiny", "input": {"text": CANARY}}, {}),
    (422, {"model": "tiny", "input": [CANARY] * 20}, {}),
    (422, {"model": "tiny", "input": f"{CANARY} " * 100, "truncate": False}, {}),
    (422, {"input": CANARY}, {}),
    (422, [CANARY], {}),
    (400, f'{{"model": "tiny", "input": "{CANARY}'.encode(), {}),
    (400, f'{{"model": "tiny", "input": "{CANARY}\\ud800"}}'.encode(), {}),
    (400, f'{{"model": "tiny", "input": "{CANARY}'.encode() + b'\xff"}', {}),
    (422, b"[" * 100_000 + CANARY.encode(), {}),
    (415, {"model": "tiny", "input": CANARY}, {"content_type": "text/plain"}),
    (415, {"model": "tiny", "input": CANARY}, {"content_encoding": "gzip"}),
    (413, {"model": "tiny", "input": f"{CANARY} " * 100_000}, {}),
    (422, {"model": "tiny", "input": CANARY}, {"x_request_timeout": "abc"}),
    (500, {"model": "tiny", "input": f"{CANARY} w77"}, {}),
    (504, {"model": "tiny", "input": f"{CANARY} w78"}, {"x_request_timeout": "0.3"}),
]


async def test_no_word_of_an_input_is_written(tiny: Start, output: Output, tmp_path: Path) -> None:
    go = threading.Event()

    def waits() -> None:
        go.wait()

    backend = FakeBackend(faults={FAULT: breaks, HANG: waits})
    settings = Server(data_dir=str(tmp_path / "data"), max_body_mb=0.5)
    batching = Batching(max_inputs=16, max_queued_tokens=500)
    async with (
        tiny(backend, models=("tiny", "broken"), server=settings, batching=batching) as server,
        client(server) as http,
    ):
        for status, body, headers in CALLS:
            answer = await post(http, body, **headers)
            assert answer.status_code == status, (body, answer.text)
        hanging = asyncio.create_task(post(http, {"model": "tiny", "input": f"{CANARY} w78"}))
        while not server.runtime.batcher.queued_tokens:
            await asyncio.sleep(0)
        full = await post(http, {"model": "tiny", "input": [f"{CANARY} " * 60] * 8})
        assert full.status_code == 429
        go.set()
        assert (await hanging).status_code == 200
        backend.failures = [MemoryError(), MemoryError()]
        assert (await post(http, {"model": "broken", "input": CANARY})).status_code == 503
        backend.capacity = 2
        for encoder in backend.encoders:
            encoder.capacity = 2
        assert (await post(http, {"model": "tiny", "input": CANARY})).status_code == 503
    assert "INFO" in output.text
    assert CANARY not in output.text
    assert len(output.requests) == len(CALLS) + 4


async def test_a_line_a_request_with_what_is_known_of_it(tiny: Start, output: Output) -> None:
    async with tiny(FakeBackend()) as server, client(server) as http:
        good = await post(http, {"model": "tiny:tiny", "input": ["w1", "w2"]}, x_request_id="good")
        await post(http, {"model": "nobody", "input": "w1"}, x_request_id="bad")
        await http.get("/models/nobody", headers={"x-request-id": "listing"})
        await http.get("/nothing?secret=1", headers={"x-request-id": "lost"})
        for probe in ("/health", "/ready", "/metrics"):
            assert (await http.get(probe, headers={"x-request-id": "probe"})).status_code == 200
    seen = {entry.get("request_id"): entry for entry in output.requests}
    assert len(seen) == 5
    assert len(output.requests) == 7
    ok = seen["good"]
    assert (ok["method"], ok["route"], ok["status"], ok["model"]) == (
        "POST",
        "/embeddings",
        200,
        "tiny",
    )
    assert (ok["inputs"], ok["tokens"]) == (2, good.json()["usage"]["prompt_tokens"])
    assert ok["seconds"] > 0
    assert (seen["bad"]["status"], seen["bad"]["model"]) == (404, "nobody")
    assert (seen["listing"]["route"], seen["listing"]["model"]) == ("/models/<tag>", "nobody")
    assert (seen["lost"]["route"], seen["lost"]["status"]) == ("", 404)
    assert "secret" not in output.text
    levels = {e["level"] for e in output.requests if e["request_id"] == "probe"}
    assert levels == {"debug"}


async def test_nothing_that_is_sent_begins_a_line(tiny: Start, output: Output) -> None:
    async with tiny(FakeBackend()) as server, client(server) as http:
        await post(http, {"model": FORGED, "input": "w1"})
        await post(http, {"model": "tiny", "input": "w1", "prompt_name": FORGED})
        await http.get("/models/%0d%0a12:00:00%20INFO%1b%5b2J")
        await http.get("/nothing%0D%0Aforged%E2%80%A8x")
        await http.get(
            "/health", headers={b"x-request-id": FORGED.encode().replace(b"\r\n", b"\t")}
        )
        await http.post("/embeddings/cache/clear", json={"models": [FORGED]})
        await http.post("/embeddings/preload", json={"models": [FORGED]})
        await http.post("/models/github", json={"repository": FORGED})
    console = output.console.getvalue()
    records = output.entries
    assert len(console.splitlines()) == len(records), "no exception was logged, so a line each"
    assert not [
        line
        for line in console.splitlines()
        if line.startswith("12:00:00 INFO    embedwell.access  GET /forged")
    ]
    assert "\x1b" not in output.text


async def entries_until_ready(
    started: asyncio.subprocess.Process,
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """What a JSON log has by then, and its last record."""
    entries: list[dict[str, Any]] = []
    assert started.stderr
    while not entries or "address" not in entries[-1]:
        line = await asyncio.wait_for(started.stderr.readline(), 60)
        entries.append(json.loads(line))
    return entries, entries[-1]


async def test_the_process_writes_json_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMBEDWELL_SERVER__LOG_FORMAT", "json")
    model = "sentence-transformers/all-MiniLM-L6-v2"
    async with process(tmp_path, "--port", "0") as started:
        entries, ready = await entries_until_ready(started)
        assert (ready["device"], ready["models"]) == ("cpu", [model])
        assert ready["message"] == f"ready on {ready['address']}"
        async with httpx.AsyncClient(base_url=ready["address"], timeout=60) as http:
            await post(http, {"model": model, "input": CANARY}, x_request_id="one")
            await post(http, {"model": model, "input": [CANARY, 5]}, x_request_id="two")
        started.terminate()
        assert await asyncio.wait_for(started.wait(), 30) == 0
        assert started.stdout
        assert await started.stdout.read() == b""
        assert started.stderr
        written = (await started.stderr.read()).decode()
    entries += [json.loads(line) for line in written.splitlines()]
    requests = [entry for entry in entries if entry["logger"] == "embedwell.access"]
    assert [(r["request_id"], r["status"]) for r in requests] == [("one", 200), ("two", 422)]
    assert (requests[0]["model"], requests[0]["inputs"]) == (model, 1)
    assert CANARY not in written
