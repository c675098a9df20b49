"""What a server on the same data directory still knows, and which directories it refuses."""

import asyncio
import os
import shutil
import signal
import sqlite3
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractAsyncContextManager, closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from embedwell.config.schema import Sources
from embedwell.interfaces.caches import Need
from embedwell.interfaces.encoders import UNTRIED, Trial
from embedwell.interfaces.models import Manifest
from embedwell.state.schema import MIGRATIONS
from embedwell.testing import FakeBackend, FakeEncoder, make_model_folder
from embedwell.testing.server import RunningServer, running_server
from tests.e2e.conftest import Start, config
from tests.e2e.minilm import MINILM, model_files, same, vectors
from tests.faults.served import BASE, served
from tests.sources.hub import Hub, bare_user, contents

MEASURED = Need(9_000, 900)  # more than the files say, and less than twice as much
HUB = """
[sources]
resolve_timeout = 60
[sources.huggingface]
timeout = 60
endpoint = "{url}"
"""


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    bare_user(monkeypatch, tmp_path / "user")
    made = Hub()
    yield made
    made.close()


class Heavier(FakeBackend):
    """Models turn out larger than their files say."""

    def load(self, path: Path, manifest: Manifest, trial: Trial = UNTRIED) -> FakeEncoder:
        encoder = super().load(path, manifest, trial)
        return FakeEncoder(dimensions=encoder.facts.dimensions, need=MEASURED)


def client(running: RunningServer) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=running.url, timeout=60)


async def row(http: httpx.AsyncClient) -> dict[str, Any]:
    """The one model of the cache's status."""
    (found,) = (await http.get("/embeddings/cache/status")).json()["models"]
    return dict(found)


async def row_while_loading(backend: FakeBackend, http: httpx.AsyncClient) -> dict[str, Any]:
    """What the cache expects of a load, before it knows better."""
    backend.gate.clear()
    asked = asyncio.create_task(http.post("/embeddings", json={"model": "tiny", "input": "w1"}))
    try:
        await asyncio.to_thread(backend.loading.wait)
        found = await row(http)
    finally:
        backend.gate.set()
    assert (await asked).status_code == 200
    assert found["state"] == "loading"
    return found


async def test_what_a_load_took_is_expected_of_the_next_one(tiny: Start) -> None:
    backend = Heavier()
    async with tiny(backend) as running, client(running) as http:
        first = await row_while_loading(backend, http)
        assert (first["bytes"] < MEASURED.weights, first["load_seconds"]) == (True, 0)
        learned = await row(http)
        assert (learned["bytes"], learned["load_seconds"] > 0) == (MEASURED.weights, True)
    backend = Heavier()
    async with tiny(backend) as running, client(running) as http:
        expected = await row_while_loading(backend, http)
        assert expected["bytes"] == MEASURED.weights
        assert expected["load_seconds"] == pytest.approx(learned["load_seconds"], abs=1)


async def finished(http: httpx.AsyncClient, answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 202, answer.text
    async with asyncio.timeout(60):
        while True:
            task: dict[str, Any] = (await http.get(answer.headers["location"])).json()
            if task["finished"]:
                return task


def with_hub(tmp_path: Path, hub: Hub) -> AbstractAsyncContextManager[RunningServer]:
    tables: dict[str, dict[str, Any]] = {"huggingface": {"endpoint": hub.url, "timeout": 60}}
    settings = config(tmp_path, sources=Sources(resolve_timeout=60, tables=tables))
    return running_server(settings, backend=FakeBackend())


async def test_tasks_counters_and_downloads_are_there_again(tmp_path: Path, hub: Hub) -> None:
    files = contents(make_model_folder(tmp_path / "model"))
    hub.add("acme/good", files)
    hub.add("acme/bad", {**files, "tokenizer.json": files["tokenizer.json"] + b" "})
    async with with_hub(tmp_path, hub) as running, client(running) as http:
        good = await finished(
            http, await http.post("/models/huggingface", json={"model": "acme/good"})
        )
        hub.corrupt = {"tokenizer.json"}
        bad = await finished(
            http, await http.post("/models/huggingface", json={"model": "acme/bad"})
        )
        assert (good["status"], bad["status"]) == ("done", "failed")
        for model in ("acme/good", "huggingface:acme/good"):
            answer = await http.post("/embeddings", json={"model": model, "input": "w1"})
            assert answer.status_code == 200
        before = (await http.get("/tasks")).json()
        assert [task["id"] for task in before["tasks"]] == [bad["id"], good["id"]]
        counted = (await http.get("/embeddings/counter/acme/good")).json()
        assert sum(counted.values()) == 2
    hub.requests.clear()
    async with with_hub(tmp_path, hub) as running, client(running) as http:
        assert (await http.get("/tasks")).json() == before
        again = (await http.get("/embeddings/counter/acme/good")).json()
        assert again | counted == again, "a day may have begun meanwhile"
        answer = await http.post("/embeddings", json={"model": "acme/good", "input": "w1"})
        assert (answer.status_code, hub.requests) == (200, [])
        assert (await http.delete(f"/tasks/{bad['id']}")).status_code == 204
    async with with_hub(tmp_path, hub) as running, client(running) as http:
        kept = (await http.get("/tasks")).json()["tasks"]
        assert [task["id"] for task in kept] == [good["id"]]


async def halfway(http: httpx.AsyncClient) -> dict[str, Any]:
    """The download under way, once bytes of it have come."""
    async with asyncio.timeout(60):
        while True:
            (task,) = (await http.get("/tasks")).json()["tasks"]
            if task["progress"]["done"]:
                return dict(task)


def written(database: Path) -> None:
    """Returns once the task is on the disk; blocks."""
    while True:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as reader:
            if reader.execute("SELECT count(*) FROM tasks").fetchone()[0]:
                return


async def test_a_download_that_a_kill_cut_off_failed_and_can_be_asked_for_again(
    tmp_path: Path, hub: Hub
) -> None:
    hub.add("acme/minilm", model_files())
    hub.hang_in = "model.safetensors"
    settings = BASE + HUB.format(url=hub.url)
    async with (
        served(tmp_path, settings) as server,
        httpx.AsyncClient(base_url=server.url) as http,
    ):
        asked = await http.post("/models/huggingface", json={"model": "acme/minilm"}, timeout=60)
        assert asked.status_code == 202, asked.text
        assert (await halfway(http))["status"] == "running"
        await asyncio.to_thread(written, tmp_path / "data" / "state.sqlite3")
        server.process.send_signal(signal.SIGKILL)
        await server.process.wait()
    hub.hang_in = ""
    hub.closing.set()
    hub.closing = threading.Event()
    async with (
        served(tmp_path, settings) as server,
        httpx.AsyncClient(base_url=server.url, timeout=120) as http,
    ):
        (task,) = (await http.get("/tasks")).json()["tasks"]
        assert (task["id"], task["status"]) == (asked.json()["id"], "failed")
        assert task["error"] == "The server stopped before it was done; ask again"
        assert task["finished"] >= task["created"]
        listed = (await http.get("/models")).json()["data"]
        assert [found["id"] for found in listed] == [MINILM]
        assert same(await vectors(http, "acme/minilm"), await vectors(http))
        newest = (await http.get("/tasks")).json()["tasks"][0]
        assert (newest["status"], newest["key"]) == ("done", task["key"])
    await asyncio.to_thread(shutil.rmtree, tmp_path / "data")


async def refusal(folder: Path) -> tuple[int | None, Sequence[str]]:
    """How `embedwell serve` ends on a data directory, and what it says."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "embedwell", "serve", "--port", "0", "--data-dir", str(folder),
        cwd=folder.parent, env=os.environ | {"INFERENCE_DEVICE": "cpu"},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        out, errors = await asyncio.wait_for(process.communicate(), 60)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert out == b"", "it did not say that it is ready"
    return process.returncode, errors.decode().splitlines()


async def test_a_directory_that_a_newer_version_wrote_is_refused_in_one_line(
    tmp_path: Path,
) -> None:
    layout, state, newer = tmp_path / "layout", tmp_path / "state", len(MIGRATIONS) + 1
    for folder in (layout, state):
        folder.mkdir()
    (layout / "FORMAT").write_text("7\n")
    with closing(sqlite3.connect(state / "state.sqlite3")) as connection:
        connection.execute(f"PRAGMA user_version = {newer}")
    refused = await asyncio.gather(refusal(layout), refusal(state))
    for (code, lines), reason in zip(
        refused,
        (
            "server.data_dir: data directory has format 7, this version reads 1: use a newer "
            "version, or another directory",
            f"{state}/state.sqlite3: written by a newer Embedwell (format {newer}, this one "
            f"knows {len(MIGRATIONS)}); install that version, or move it",
        ),
        strict=True,
    ):
        assert code == 2
        assert lines[0] == "The configuration is wrong:"
        assert lines[1].strip().startswith(reason)
        assert len(lines) == 2
    assert (layout / "FORMAT").read_text() == "7\n"
    assert not (layout / "models").exists()
