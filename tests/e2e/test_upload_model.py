"""The real model uploaded in every form; revisions replaced, rolled back and deleted."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from embedwell.testing.server import running_server
from tests.core.models.archives import KINDS, pack
from tests.e2e.conftest import config
from tests.e2e.minilm import MINILM, Vectors, model_files, post, same, vectors

PROMPTS = "config_sentence_transformers.json"
WEIGHTS = "model.safetensors"
Files = dict[str, bytes]


@pytest.fixture(scope="module")
def files() -> Files:
    return model_files()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
async def client(tmp_path: Path, data: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        running_server(config(tmp_path)) as server,
        httpx.AsyncClient(base_url=server.url, timeout=120) as made,
    ):
        yield made
    await asyncio.to_thread(shutil.rmtree, data)


async def upload(client: httpx.AsyncClient, archive: Path, name: str = "mine") -> httpx.Response:
    content = await asyncio.to_thread(archive.read_bytes)
    await asyncio.to_thread(archive.unlink)
    return await client.put("/models/upload", params={"model": name}, content=content)


async def calm(data: Path) -> None:
    """Returns once nothing is left of uploads and of what was deleted."""
    async with asyncio.timeout(30):
        while [*(data / "staging").iterdir()]:
            await asyncio.sleep(0)


async def packed(tmp_path: Path, kind: str, files: Mapping[str, bytes]) -> Path:
    """Uncompressed, for speed."""
    return await asyncio.to_thread(pack, tmp_path / f"model.{kind}", kind, files, 0)


async def test_the_real_model_in_every_form(
    client: httpx.AsyncClient, data: Path, tmp_path: Path, files: Files
) -> None:
    expected = await vectors(client, MINILM)
    revisions = set()
    for kind in KINDS:
        archive = await packed(tmp_path, kind, files)
        sent = await upload(client, archive)
        assert sent.status_code == 201, sent.text
        assert sent.json()["files"] == len(files)
        assert sent.json()["bytes"] >= len(files[WEIGHTS])
        revisions.add(sent.json()["revision"])
        assert same(await vectors(client, "mine"), expected)
        await calm(data)
        gone = await client.delete("/models/mine")
        assert (gone.status_code, gone.json()["state"]) == (200, "deleted")
        await calm(data)

    loose = [("file", (name, content)) for name, content in files.items()]
    sent = await client.post("/models/upload", data={"model": "mine"}, files=loose)
    assert sent.status_code == 201, sent.text
    assert same(await vectors(client, "mine"), expected)
    assert len(revisions | {sent.json()["revision"]}) == 1, "the same model, however it came"
    await calm(data)


def version(files: Files, prompt: str) -> Files:
    """A model like it, that puts `prompt` before every text."""
    changed: dict[str, Any] = {"prompts": {"p": prompt}, "default_prompt_name": "p"}
    return {**files, PROMPTS: json.dumps(changed).encode()}


async def told(client: httpx.AsyncClient, tag: str) -> tuple[int, Any]:
    answer = await post(client, tag)
    return answer.status_code, answer.json()["code"]


async def test_revisions_replace_each_other_and_come_back(
    client: httpx.AsyncClient, data: Path, tmp_path: Path, files: Files
) -> None:
    revisions: list[str] = []
    golden: list[Vectors] = []
    for prompt in ("first: ", "second: ", "third: "):
        sent = await upload(client, await packed(tmp_path, "tar", version(files, prompt)))
        assert sent.json()["replaced"] == (revisions[-1] if revisions else None)
        revisions.append(sent.json()["revision"])
        golden.append(await vectors(client, "mine"))
        await calm(data)
    first, second, third = revisions
    assert not same(golden[1], golden[2])
    assert (await client.get("/models/mine")).json()["revision"] == third
    assert same(await vectors(client, f"mine@{second}"), golden[1])
    assert await told(client, f"mine@{first}") == (404, "NOT_FOUND")

    gone = await client.delete(f"/models/mine@{third}")
    assert (gone.status_code, gone.json()["revision"]) == (200, third)
    assert (await client.get("/models/mine")).json()["revision"] == second
    assert same(await vectors(client, "mine"), golden[1])
    assert same(await vectors(client, f"mine@{second}"), golden[1])
    assert await told(client, f"mine@{third}") == (404, "NOT_FOUND")
    await calm(data)

    gone = await client.delete("/models/mine")
    assert (gone.status_code, gone.json()["revision"]) == (200, second)
    for tag in ("mine", f"mine@{second}", "upload:mine"):
        assert await told(client, tag) == (404, "NOT_FOUND")
    assert [row["id"] for row in (await client.get("/models")).json()["data"]] == [MINILM]
    await calm(data)
    assert not [*(data / "models").iterdir()], "its files are gone, too"

    again = await upload(client, await packed(tmp_path, "tar", version(files, "first: ")))
    assert (again.json()["revision"], again.json()["replaced"]) == (first, None)
    assert same(await vectors(client, "mine"), golden[0])


def not_finite(weights: bytes) -> bytes:
    """The last number of the file is a NaN."""
    return weights[:-4] + b"\x00\x00\xc0\x7f"


def halve(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


async def refused(client: httpx.AsyncClient, archive: Path, why: str) -> None:
    answer = await upload(client, archive)
    assert (answer.status_code, answer.json()["code"]) == (422, "INVALID_MODEL"), answer.text
    assert why in answer.json()["detail"]
    assert str(archive.parent) not in answer.text


async def test_archives_that_are_wrong_leave_the_served_model_alone(
    client: httpx.AsyncClient, data: Path, tmp_path: Path, files: Files
) -> None:
    sent = await upload(client, await packed(tmp_path, "tar", files))
    before = await vectors(client, "mine")
    half = files[WEIGHTS][: len(files[WEIGHTS]) // 2]
    wrong: dict[str, Files] = {
        "do not fill the file as declared; is it cut short?": {**files, WEIGHTS: half},
        "values that are not numbers": {**files, WEIGHTS: not_finite(files[WEIGHTS])},
        "tokenizer.json is missing": {k: v for k, v in files.items() if k != "tokenizer.json"},
        "has the id 30,521, but the weights know 30,000 tokens": {
            **files, "config.json": files["config.json"].replace(b"30522", b"30000")
        },
    }  # fmt: skip
    for why, content in wrong.items():
        await refused(client, await packed(tmp_path, "tar", content), why)
        await calm(data)
    for kind in KINDS:
        archive = await packed(tmp_path, kind, files)
        await asyncio.to_thread(halve, archive)
        await refused(client, archive, "The archive is damaged or cut short")
        await calm(data)
    assert (await client.get("/models/mine")).json()["revision"] == sent.json()["revision"]
    assert same(await vectors(client, "mine"), before)
