"""Uploads end to end: every way in, replacing, rolling back, deleting."""

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from embedwell import ModelRef
from embedwell.testing import (
    FakeBackend,
    SourceCase,
    SourceContract,
    make_model_folder,
    make_services,
)
from embedwell_source_upload.config import Config
from embedwell_source_upload.plugin import register_sources
from embedwell_source_upload.source import UploadSource
from tests.core.models.archives import KINDS, pack_folder
from tests.sources.upload_driver import Site, packed, site

SLOW = 5 + 77  # the id of "w77" in the tiny tokeniser


@pytest_asyncio.fixture
async def running(tmp_path: Path) -> AsyncIterator[Site]:
    async with site(tmp_path) as started:
        yield started


class TestContract(SourceContract):
    @pytest.fixture
    async def case(self, tmp_path: Path) -> SourceCase:
        services = make_services(tmp_path)
        archive = pack_folder(tmp_path / "m.zip", "zip", make_model_folder(tmp_path / "m"))
        async with services.store.stage("upload", "m") as staging:
            await staging.keep(archive.read_bytes())
            await staging.unpack()
            await staging.publish()
        return SourceCase(UploadSource(Config(), services), ModelRef("m"))


def test_it_comes_before_every_other_source() -> None:
    (spec,) = register_sources()
    assert (spec.name, spec.priority) == ("upload", 400)


@pytest.mark.parametrize("kind", KINDS)
async def test_an_archive_in_a_form_is_served(running: Site, tmp_path: Path, kind: str) -> None:
    answer = await running.client.post(
        "/models/upload",
        data={"model": "mine"},
        files={"file": (f"m.{kind}", packed(tmp_path, kind))},
    )
    assert answer.status_code == 201
    assert answer.headers["location"] == "/models/mine"
    told = answer.json()
    assert set(told) == {"model", "revision", "source", "bytes", "files", "replaced"}
    assert (told["model"], told["source"], told["replaced"]) == ("mine", "upload", None)
    assert (told["files"], told["bytes"] > 6000) == (7, True)
    row = (await running.client.get("/models/mine")).json()
    assert (row["source"], row["revision"]) == ("upload", told["revision"])
    assert (await running.embed("mine", "w1 w2", "w3")).status_code == 200
    assert running.staged() == []


@pytest.mark.parametrize("kind", KINDS)
async def test_an_archive_as_the_body_is_served(running: Site, tmp_path: Path, kind: str) -> None:
    answer = await running.put("mine", packed(tmp_path, kind))
    assert answer.status_code == 201
    assert (await running.embed("mine", "w1")).status_code == 200


@pytest.mark.parametrize(
    "kind", ["application/zip", "application/gzip", "application/x-tar", "application/octet-stream"]
)
async def test_the_content_decides_not_the_type(running: Site, tmp_path: Path, kind: str) -> None:
    answer = await running.client.put(
        "/models/upload?model=mine", content=packed(tmp_path), headers={"content-type": kind}
    )
    assert answer.status_code == 201


async def test_an_archive_with_one_folder_around_everything(running: Site, tmp_path: Path) -> None:
    folder = make_model_folder(tmp_path / "m")
    archive = pack_folder(tmp_path / "m.tar.gz", "tar.gz", folder, "my-model/")
    assert (await running.put("mine", archive.read_bytes())).json()["files"] == 7


FOLDERS = (
    "; the folder of a loose file is sent in its file name (curl: "
    "-F 'file=@1_Pooling/config.json;filename=1_Pooling/config.json'), or an archive of them all"
)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("config.json", f"Two files are named config.json{FOLDERS}"),
        ("", f"1_Pooling/config.json is missing{FOLDERS}"),
    ],
)
async def test_a_loose_file_that_lost_its_folder(
    running: Site, tmp_path: Path, name: str, why: str
) -> None:
    folder = make_model_folder(tmp_path / "model")
    sent = {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.*") if p.is_file()
    }
    pooling = sent.pop("1_Pooling/config.json")
    files = [("file", (n, content)) for n, content in sent.items()]
    files += [("file", (name, pooling))] if name else []
    answer = await running.client.post("/models/upload", data={"model": "loose"}, files=files)
    assert (answer.status_code, answer.json()["detail"]) == (422, why)
    await running.unharmed()


async def test_an_archive_is_not_told_of_file_names(running: Site, tmp_path: Path) -> None:
    folder = make_model_folder(tmp_path / "model")
    (folder / "1_Pooling" / "config.json").unlink()
    answer = await running.put("mine", pack_folder(tmp_path / "m.zip", "zip", folder).read_bytes())
    assert answer.json()["detail"] == "1_Pooling/config.json is missing"


async def test_loose_files_are_the_same_model(running: Site, tmp_path: Path) -> None:
    folder = make_model_folder(tmp_path / "m")
    files = [
        ("file", (path.relative_to(folder).as_posix(), path.read_bytes()))
        for path in folder.rglob("*")
        if path.is_file()
    ]
    answer = await running.client.post("/models/upload", data={"model": "loose"}, files=files)
    assert answer.status_code == 201
    assert answer.json()["files"] == len(files) == 7
    archive = await running.put("packed", pack_folder(tmp_path / "z", "zip", folder).read_bytes())
    assert archive.json()["revision"] == answer.json()["revision"]


async def test_a_model_without_modules_is_taken_with_a_warning(
    running: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = make_model_folder(tmp_path / "m")
    (folder / "modules.json").unlink()
    archive = pack_folder(tmp_path / "m.zip", "zip", folder).read_bytes()
    told = (await running.put("bare", archive)).json()
    assert told["warning"].startswith("it has no modules.json: ")
    (line,) = [record for record in caplog.records if "no modules.json" in record.getMessage()]
    assert line.levelname == "WARNING"
    assert line.getMessage() == f"upload:bare@{told['revision']}: {told['warning']}"
    assert "warning" not in (await running.put("whole", packed(tmp_path))).json()


async def test_the_url_may_name_the_model_of_a_form(running: Site, tmp_path: Path) -> None:
    answer = await running.client.post(
        "/models/upload?model=mine", files={"file": ("m.zip", packed(tmp_path))}
    )
    assert answer.status_code == 201


async def test_a_name_may_have_an_owner(running: Site, tmp_path: Path) -> None:
    answer = await running.put("owner/mine", packed(tmp_path))
    assert (answer.status_code, answer.headers["location"]) == (201, "/models/owner/mine")
    assert (await running.embed("owner/mine", "w1")).status_code == 200


async def test_a_name_again_replaces_and_rolls_back(running: Site, tmp_path: Path) -> None:
    old = (await running.put("mine", packed(tmp_path))).json()["revision"]
    assert len((await running.embed("mine", "w1")).json()["data"][0]["embedding"]) == 8
    again = (await running.put("mine", packed(tmp_path, hidden=16))).json()
    assert (again["replaced"], again["revision"] != old) == (old, True)
    assert len((await running.embed("mine", "w1")).json()["data"][0]["embedding"]) == 16
    before = await running.embed(f"mine@{old}", "w1")
    assert len(before.json()["data"][0]["embedding"]) == 8
    assert (await running.embed("mine@" + "0" * 64, "w1")).status_code == 404
    assert await running.names() == ["mine"]


async def test_a_deleted_model_is_gone(running: Site, tmp_path: Path) -> None:
    revision = (await running.put("mine", packed(tmp_path))).json()["revision"]
    assert (await running.embed("mine", "w1")).status_code == 200
    gone = await running.client.delete("/models/mine")
    assert (gone.status_code, gone.json()["source"]) == (200, "upload")
    assert gone.json()["revisions"] == [revision]
    for tag in ("mine", f"mine@{revision}", "upload:mine"):
        assert (await running.embed(tag, "w1")).status_code == 404
    assert (await running.client.delete("/models/mine")).status_code == 404
    assert (await running.put("mine", packed(tmp_path))).json()["replaced"] is None


async def test_a_deleted_model_drains_while_a_request_has_any_of_its_revisions(
    tmp_path: Path,
) -> None:
    go, began = threading.Event(), threading.Event()

    def wait() -> None:
        began.set()
        go.wait()

    async with site(tmp_path, backend=FakeBackend(faults={SLOW: wait})) as running:
        old = (await running.put("mine", packed(tmp_path))).json()["revision"]
        busy = asyncio.create_task(running.embed("mine", "w77"))
        await asyncio.to_thread(began.wait)
        new = (await running.put("mine", packed(tmp_path, hidden=16))).json()["revision"]
        gone = (await running.client.delete("/models/mine")).json()
        go.set()
        assert (await busy).status_code == 200
        assert (gone["revisions"], gone["state"]) == ([new, old], "draining")


async def test_the_openapi_page_has_the_routes(running: Site) -> None:
    paths = (await running.client.get("/openapi.json")).json()["paths"]["/models/upload"]
    assert set(paths) == {"post", "put"}
    assert {"201", "409", "413", "415", "422", "429", "507"} <= set(paths["put"]["responses"])
