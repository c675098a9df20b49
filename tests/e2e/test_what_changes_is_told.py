"""What operators and clients are told when models come and go: over HTTP, on a fake device."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from embedwell import (
    EmbedwellError,
    InvalidModel,
    ModelRef,
    Source,
    SourceError,
    SourceSpec,
    hookimpl,
)
from embedwell.config.schema import Store
from embedwell.testing import FakeBackend, make_model_folder
from embedwell.testing.server import RunningServer, running_server
from tests.core.models.archives import pack_folder
from tests.e2e.conftest import Start, config
from tests.faults.fake_models import Nothing, TinyModels


def client(server: RunningServer) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=server.url, timeout=30)


async def embed(http: httpx.AsyncClient, model: str) -> httpx.Response:
    return await http.post("/embeddings", json={"model": model, "input": "w1"})


async def upload(
    http: httpx.AsyncClient, name: str, tmp_path: Path, hidden: int = 8
) -> httpx.Response:
    folder = make_model_folder(tmp_path / f"origin-{hidden}", hidden=hidden)
    archive = pack_folder(tmp_path / f"{hidden}.zip", "zip", folder)
    body = await asyncio.to_thread(archive.read_bytes)
    return await http.put("/models/upload", params={"model": name}, content=body)


async def test_a_counter_begins_with_the_upload(tiny: Start, tmp_path: Path) -> None:
    async with tiny(FakeBackend()) as server, client(server) as http:
        assert (await upload(http, "mine", tmp_path)).status_code == 201
        days = await http.get("/embeddings/counter/mine")
        assert (days.status_code, [*days.json().values()]) == (200, [0])


async def test_nothing_is_published_under_an_alias(tiny: Start, tmp_path: Path) -> None:
    async with tiny(FakeBackend(), aliases={"small": "tiny"}) as server, client(server) as http:
        refused = await upload(http, "small", tmp_path)
        assert (refused.status_code, refused.json()["code"]) == (409, "CONFLICT")
        assert "small is an alias" in refused.json()["detail"]


async def test_revisions_are_listed_and_deleting_one_goes_back(tiny: Start, tmp_path: Path) -> None:
    async with tiny(FakeBackend()) as server, client(server) as http:
        first = (await upload(http, "mine", tmp_path, 8)).json()["revision"]
        second = (await upload(http, "mine", tmp_path, 16)).json()["revision"]
        assert (await http.get("/models/mine")).json()["revisions"] == [second, first]
        assert (await http.delete(f"/models/mine@{second}")).status_code == 200
        assert (await http.get("/models/mine")).json()["revisions"] == [first]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/embeddings/cache/clear", {"model": "tiny"}),
        ("/embeddings/preload", {"model": "tiny"}),
        ("/models/github", {"repository": "a/b", "branch": "main"}),
        ("/models/huggingface", {"model": "a/b", "branch": "main"}),
    ],
)
async def test_a_field_that_nobody_knows_changes_nothing(
    tiny: Start, path: str, body: dict[str, Any]
) -> None:
    async with tiny(FakeBackend()) as server, client(server) as http:
        await embed(http, "tiny")
        answer = await http.post(path, json=body)
        assert (answer.status_code, answer.json()["code"]) == (422, "VALIDATION_ERROR")
        assert "unknown field" in answer.json()["detail"]
        assert "; it takes model" in answer.json()["detail"] or "github" in path
        assert [r.tag for r in server.runtime.cache.residents()] == ["tiny"]


async def test_a_preload_without_names_takes_what_is_here(tiny: Start, tmp_path: Path) -> None:
    """A model that was deleted is not looked for elsewhere because it once was in use."""
    async with tiny(FakeBackend()) as server, client(server) as http:
        await upload(http, "acme/gone", tmp_path)
        await embed(http, "acme/gone")
        await embed(http, "tiny")
        assert (await http.delete("/models/acme/gone")).status_code == 200
        answer = await http.post("/embeddings/preload")
        assert [row["model"] for row in answer.json()["models"]] == ["tiny"]


async def test_two_long_preloads_are_two_tasks(tiny: Start) -> None:
    backend = FakeBackend()
    async with tiny(backend, models=("a", "b")) as server, client(server) as http:
        long = [f"tiny:a@{'0' * 60}{i}" for i in range(5)]
        first = await http.post("/embeddings/preload", json={"models": ["a", *long]})
        second = await http.post("/embeddings/preload", json={"models": ["a", *long, "b"]})
        ids = {answer.json()["task"]["id"] for answer in (first, second)}
        for task in ids:
            with suppress(EmbedwellError):
                await server.runtime.tasks.result(task)
        assert backend.loads == ["a", "b"]


async def test_an_archive_larger_than_the_stores_share(tiny: Start, tmp_path: Path) -> None:
    """By what it unpacks to, as well as by what is sent."""
    folder = make_model_folder(tmp_path / "large")
    (folder / "notes.txt").write_bytes(bytes(3_000_000))
    archive = pack_folder(tmp_path / "large.tar.gz", "tar.gz", folder)
    async with (
        tiny(FakeBackend(), store=Store(max_disk_gb=0.001)) as server,
        client(server) as http,
    ):
        body = await asyncio.to_thread(archive.read_bytes)
        answer = await http.put("/models/upload", params={"model": "large"}, content=body)
        assert (answer.status_code, answer.json()["code"]) == (507, "INSUFFICIENT_STORAGE")
        assert not list((tmp_path / "data" / "staging").iterdir())
        assert (await upload(http, "small", tmp_path)).status_code == 201


async def test_the_log_has_a_line_for_what_changed_and_for_what_was_refused(
    tiny: Start, caplog: pytest.LogCaptureFixture
) -> None:
    backend = FakeBackend()
    with caplog.at_level(logging.INFO, logger="embedwell"):
        async with tiny(backend, models=("a", "b")) as server, client(server) as http:
            await embed(http, "a")
            await http.post("/embeddings/cache/clear")
            backend.failures = [RuntimeError("broken")]
            await embed(http, "b")
            await embed(http, "nobody")
            await http.get("/health")
    lines = [record.getMessage() for record in caplog.records]
    for words in ("loaded tiny:a@", "unloaded tiny:a@", "tiny:b@", "Model not found: nobody"):
        assert any(words in line for line in lines), words
    assert any("NOT_FOUND" in line and "404" in line for line in lines)
    assert not any("/health" in line for line in lines), "probes come every few seconds"


class Refusing:
    """A plugin whose source has `bad`, and cannot give it."""

    def __init__(self, error: EmbedwellError) -> None:
        self.error = error

    @hookimpl
    def register_sources(self) -> Sequence[SourceSpec[Any]]:
        error = self.error

        class Refuses(Source):
            async def resolve(self, ref: ModelRef) -> None:
                if ref.name == "bad":
                    raise error

        spec = SourceSpec(name="bad", summary="", priority=900, config=Nothing, build=Refuses)
        return [spec]


@pytest.mark.parametrize("error", [SourceError("broken"), InvalidModel("too large")])
async def test_one_model_that_cannot_be_had_keeps_no_other_from_loading(
    tmp_path: Path, error: EmbedwellError
) -> None:
    backend = FakeBackend()
    make_model_folder(tmp_path / "models" / "tiny")
    modules = [TinyModels(tmp_path / "models"), Refusing(error)]
    async with (
        running_server(config(tmp_path), modules=modules, backend=backend) as server,
        client(server) as http,
    ):
        answer = await http.post("/embeddings/preload", json={"models": ["bad", "tiny"]})
        assert [row["status"] for row in answer.json()["models"]] == ["queued", "queued"]
        with pytest.raises(EmbedwellError, match="Not loaded: bad: "):
            await server.runtime.tasks.result(answer.json()["task"]["id"])
        assert backend.loads == ["tiny"]
