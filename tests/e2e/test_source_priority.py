"""One tag in all four sources: upload, training, GitHub, Hub, in that order, as the higher ones go."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from embedwell.config.schema import Sources
from embedwell.testing import FakeBackend, make_model_folder
from embedwell.testing.server import RunningServer, running_server
from tests.core.models.archives import pack_folder
from tests.e2e.conftest import config
from tests.sources.github_server import GitHub, github
from tests.sources.hub import Hub, bare_user, contents

TAG = "acme/encoder"
WIDTHS = {"upload": 8, "training": 16, "github": 24, "huggingface": 32}


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    """A model for each source, told apart by its width."""
    return {
        name: make_model_folder(tmp_path / "origin" / name, hidden=width)
        for name, width in WIDTHS.items()
    }


@pytest.fixture
def hub(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    bare_user(monkeypatch, tmp_path / "user")
    made = Hub()
    made.add(TAG, contents(folders["huggingface"]))
    yield made
    made.close()


@pytest.fixture
async def site(folders: dict[str, Path]) -> AsyncIterator[GitHub]:
    async with github() as running:
        running.add(TAG, contents(folders["github"]))
        yield running


@pytest.fixture
async def server(
    tmp_path: Path, hub: Hub, site: GitHub, folders: dict[str, Path]
) -> AsyncIterator[RunningServer]:
    tables: dict[str, dict[str, Any]] = {
        "training": {"directory": str(tmp_path / "runs"), "settle_seconds": 0},
        "github": {"api_url": site.api, "web_url": site.web},
        "huggingface": {"endpoint": hub.url, "timeout": 60},
    }
    sources = Sources(resolve_timeout=60, tables=tables)
    settings = config(tmp_path, sources=sources)
    async with running_server(settings, backend=FakeBackend()) as running:
        yield running


@pytest.fixture
async def client(server: RunningServer) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as made:
        yield made


async def width(client: httpx.AsyncClient, tag: str = TAG) -> int:
    answer = await client.post("/embeddings", json={"model": tag, "input": "w1"})
    assert answer.status_code == 200, answer.text
    return len(answer.json()["data"][0]["embedding"])


async def row(client: httpx.AsyncClient) -> dict[str, Any]:
    found: dict[str, Any] = (await client.get(f"/models/{TAG}")).json()
    return found


async def fill(
    server: RunningServer, client: httpx.AsyncClient, folders: dict[str, Path], runs: Path
) -> None:
    """The tag in every source."""
    for path, body in (
        ("/models/huggingface", {"model": TAG}),
        ("/models/github", {"repository": TAG}),
    ):
        asked = await client.post(path, json=body)
        assert asked.status_code == 202, asked.text
        await server.runtime.tasks.result(asked.json()["id"])
    await asyncio.to_thread(shutil.copytree, folders["training"], runs / TAG)
    archive = pack_folder(runs.parent / "model.zip", "zip", folders["upload"])
    sent = await client.put(
        "/models/upload", params={"model": TAG}, content=await asyncio.to_thread(archive.read_bytes)
    )
    assert sent.status_code == 201, sent.text


async def test_each_source_serves_the_tag_when_those_above_it_no_longer_do(
    server: RunningServer, client: httpx.AsyncClient, folders: dict[str, Path], tmp_path: Path
) -> None:
    await fill(server, client, folders, tmp_path / "runs")
    assert (await row(client))["shadowed"] == ["training", "github", "huggingface"]
    for name, expected in WIDTHS.items():
        assert await width(client, f"{name}:{TAG}") == expected

    assert await width(client) == WIDTHS["upload"]
    gone = await client.delete(f"/models/{TAG}")
    assert (gone.status_code, gone.json()["source"]) == (200, "upload")

    assert await width(client) == WIDTHS["training"]
    assert (await row(client))["shadowed"] == ["github", "huggingface"]
    refused = await client.delete(f"/models/{TAG}")
    assert (refused.status_code, refused.json()["code"]) == (409, "CONFLICT")
    await asyncio.to_thread(shutil.rmtree, tmp_path / "runs" / TAG)
    async with asyncio.timeout(30):  # an answer is remembered for a moment
        while await width(client) == WIDTHS["training"]:
            await asyncio.sleep(0.05)

    assert await width(client) == WIDTHS["github"]
    gone = await client.delete(f"/v1/models/{TAG}")
    assert (gone.status_code, gone.json()["source"]) == (200, "github")

    assert await width(client) == WIDTHS["huggingface"]
    gone = await client.delete(f"/models/{TAG}")
    assert (gone.status_code, gone.json()["source"]) == (200, "huggingface")
    assert (await client.get(f"/models/{TAG}")).status_code == 404


async def test_a_source_that_fails_ends_the_search(
    server: RunningServer, client: httpx.AsyncClient, hub: Hub
) -> None:
    """A name that the Hub would have, too, is not looked for further down."""
    hub.status = 500
    answer = await client.post("/embeddings", json={"model": TAG, "input": "w1"})
    assert (answer.status_code, answer.json()["code"]) == (502, "SOURCE_ERROR")
    hub.status = 0
    assert await width(client) == WIDTHS["huggingface"]
