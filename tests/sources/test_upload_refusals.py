"""What is refused: malformed forms, names, packages. Nothing of it is ever published."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from embedwell.testing import make_model_folder
from tests.core.models.archives import pack, pack_folder, tree
from tests.sources.upload_driver import BOUNDARY, FORM, Field, Site, form, packed, raw, site

LOOSE = "The file is neither a zip nor a tar archive"
MODEL = Field("model", b"mine")
CONFIG = Field("file", b"{}", "config.json")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    async with site(tmp_path_factory.mktemp("site"), {"max_size_gb": 0.003}) as started:
        yield started


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def post(running: Site, body: bytes, kind: str = FORM, query: str = "") -> tuple[int, Any]:
    headers = [f"Content-Type: {kind}"] if kind else []
    async with raw(
        running.server.port, length=len(body), headers=headers, query=query
    ) as connection:
        await connection.send(body)
        status, told = await connection.answer()
    await running.unharmed()
    assert str(running.data) not in json.dumps(told)
    return status, told


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"", 400, "The multipart body ends before its final boundary"),
        (b"garbage" * 100, 400, "The multipart body is malformed"),
        (form(), 422, "Field required: model"),
        (form(MODEL, CONFIG, end=b"\r\n"), 400, "ends before its final boundary"),
        (form(MODEL, CONFIG)[:-30], 400, "ends before its final boundary"),
        (form(MODEL), 422, "Field required: file"),
        (form(CONFIG), 422, "Field required: model, in front of the files or as ?model= in the"),
        (form(CONFIG, MODEL), 422, "Field required: model, in front of the files"),
        (form(MODEL, MODEL, CONFIG), 422, "The field model is given twice"),
        (form(MODEL, CONFIG, CONFIG), 422, "Two files are named config.json"),
        (
            form(MODEL, CONFIG, Field("file", b"", "./config.json")),
            422,
            "Two files are named ./config.json",
        ),
        (form(MODEL, Field("file", b"x"), CONFIG), 422, "A loose file needs a file name"),
        (form(MODEL, Field("files", b"", "a")), 422, "Unknown field: files; a form has model and"),
        (form(Field("x" * 900, b"")), 422, f"Unknown field: {'x' * 97}...; a form has"),
        (form(MODEL, CONFIG), 422, LOOSE),
        (form(MODEL, Field("file", b"", "m.zip")), 422, LOOSE),
        (form(*[Field("file", b"", "a")] * 1_500), 422, "Field required: model"),
        (form(MODEL, *[Field("file", b"", f"{n}.json") for n in range(1_500)]), 413, "1,001 parts"),
        (form(Field("model", b"x" * 1_000_000)), 413, "The field model is longer than 200 bytes"),
        (form(Field("model", b"\xff")), 400, "The field model is not valid UTF-8"),
        (form(MODEL, Field("file", b"PK\x03\x04", "a.zip"), CONFIG), 422, "must be the only file"),
        (form(MODEL, Field("file", b"PK\x03\x04junk", "a.zip")), 422, "archive"),
        (form(MODEL, Field("file", b"\x1f\x8bjunk", "a.tar.gz")), 422, "archive"),
    ],
)  # fmt: skip
async def test_malformed_forms(running: Site, body: bytes, status: int, message: str) -> None:
    answer, told = await post(running, body)
    assert answer == status, told
    assert message in told["detail"]


@pytest.mark.parametrize(
    ("kind", "status", "message"),
    [
        ("", 415, "The Content-Type must be multipart/form-data; an archive as the body"),
        ("application/zip", 415, "must be multipart/form-data"),
        ("multipart/form-data", 400, "The Content-Type has no boundary"),
        ("multipart/form-data; boundary=other", 400, "The multipart body is malformed"),
    ],
)
async def test_forms_of_another_type(running: Site, kind: str, status: int, message: str) -> None:
    answer, told = await post(running, form(MODEL, CONFIG), kind)
    assert answer == status
    assert message in told["detail"]


async def test_a_model_named_in_both_places(running: Site) -> None:
    status, told = await post(running, form(MODEL, CONFIG), query="?model=mine")
    assert (status, told["detail"]) == (422, "The field model is given twice")


NAMES = [
    "", ".", "..", "../etc", "a/../b", "/etc/passwd", "model/", " ..", ".. ", "CON", "nul.txt", "a:b",
    "C:\\x", "\\\\h\\s", "a\\..\\b", "x" * 150, "\U0001f600", "e\u0301", ".hidden", "-rf", "a/b/c",
    "a@b", "upload:a", "upload", "GitHub", "a.", "a..b", "a b", "a\x00b", "a\nb",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
async def test_names_that_may_not_be(running: Site, tmp_path: Path, name: str) -> None:
    archive = packed(tmp_path)
    put = await running.put(name, archive)
    assert (put.status_code, put.json()["error"]["param"]) == (422, "model"), put.text
    status, told = await post(
        running, form(Field("model", name.encode()), Field("file", archive, "m"))
    )
    assert (status, told["error"]["param"]) == (422, "model")


@pytest.mark.parametrize(
    "name", ["../a.json", "/a.json", "a\\b.json", "a/../../b.json", "nul", "a:b", "e\u0301", "\x01"]
)
async def test_file_names_that_may_not_be(running: Site, name: str) -> None:
    status, told = await post(running, form(MODEL, CONFIG, Field("file", b"{}", name)))
    assert (status, told["code"]) == (422, "INVALID_MODEL"), told


@pytest.mark.parametrize(
    "kind", ["application/x-www-form-urlencoded", "text/plain", "application/json", FORM]
)
async def test_a_raw_body_of_another_type(running: Site, kind: str) -> None:
    answer = await running.client.put(
        "/models/upload?model=mine", content=b"x", headers={"content-type": kind}
    )
    assert answer.status_code == 415
    assert f"The Content-Type {kind.partition(';')[0]} is no archive's" in answer.json()["detail"]


async def test_a_raw_body_without_a_name(running: Site) -> None:
    answer = await running.client.put("/models/upload", content=b"x")
    assert answer.status_code == 422
    assert answer.json()["detail"] == "Field required: model, as ?model= in the URL"


@pytest.mark.parametrize(
    ("body", "status"), [(b"", 400), (b"PK\x03\x04", 422), (b"{}", 422), (bytes(4096), 422)]
)
async def test_a_raw_body_that_is_no_archive(running: Site, body: bytes, status: int) -> None:
    answer = await running.put("mine", body)
    assert answer.status_code == status
    await running.unharmed()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"pytorch_model.bin": b"x"}, "pytorch_model.bin"),
        ({"evil.py": b"import os"}, "evil.py"),
        ({"model.safetensors": b"\x80\x04pickle"}, "model.safetensors"),
        ({"config.json": None}, "config.json"),
        ({"../x.json": b"{}"}, "../x.json"),
    ],
)
async def test_packages_that_may_not_be(
    running: Site, tmp_path: Path, changes: dict[str, bytes | None], reason: str
) -> None:
    files = {**tree(make_model_folder(tmp_path / "m")), **changes}
    kept = {name: data for name, data in files.items() if data is not None}
    answer = await running.put("mine", pack(tmp_path / "z", "zip", kept).read_bytes())
    assert (answer.status_code, answer.json()["code"]) == (422, "INVALID_MODEL")
    assert reason in answer.json()["detail"]
    assert str(tmp_path) not in answer.text
    assert str(running.data) not in answer.text
    await running.unharmed()


async def test_a_declared_length_over_the_limit_is_refused_unread(running: Site) -> None:
    for method in ("POST", "PUT"):
        async with raw(running.server.port, method=method, length=3_000_001) as connection:
            status, told = await connection.answer()
        assert (status, told["detail"]) == (413, "The body is larger than 3,000,000 bytes")


async def test_chunks_over_the_limit_are_refused(running: Site) -> None:
    boundary = f"--{BOUNDARY}\r\n".encode()
    field = b'Content-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    async with raw(running.server.port, length=None, query="?model=mine") as connection:
        for piece in (boundary + field, *[b"x" * 500_000] * 7):
            await connection.send(b"%x\r\n%s\r\n" % (len(piece), piece))
        status, told = await connection.answer()
    assert (status, told["code"]) == (413, "PAYLOAD_TOO_LARGE")
    await running.unharmed()


async def test_the_limit_itself_is_read(running: Site) -> None:
    answer = await running.put("mine", bytes(3_000_000))
    assert (answer.status_code, answer.json()["code"]) == (422, "INVALID_MODEL")
    await running.unharmed()


async def test_a_compressed_body_is_refused(running: Site, tmp_path: Path) -> None:
    archive = pack_folder(tmp_path / "z", "tar", make_model_folder(tmp_path / "m"))
    answer = await running.client.put(
        "/models/upload?model=mine",
        content=archive.read_bytes(),
        headers={"content-encoding": "gzip"},
    )
    assert answer.status_code == 415
