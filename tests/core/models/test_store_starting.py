"""The store: what it finds at its start, and what it makes of it."""

import json
import logging
import shutil
from pathlib import Path

import pytest

from embedwell.errors import (
    ConfigurationError,
)
from embedwell.interfaces.models import ModelRef
from embedwell.tasks.threads import BoundedThreads
from tests.core.models.store_bench import A, B, Bench, contents, digest, names_in

REF = ModelRef("m")


DAMAGES = (
    *("shorter", "missing file", "no folder", "missing folder"),
    *("manifest", "pointer", "foreign", "misplaced"),
)


class TestStarting:
    async def test_what_was_published_is_there(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path)
        await bench.store.open()
        for model in (A, B):
            await bench.publish("owner/m", model)
        again = Bench(tmp_path)
        await again.store.open()
        assert await again.store.models("upload") == await bench.store.models("upload")
        assert await again.listed() == {"owner/m": [B, A]}

    async def test_leftovers_go(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path)
        await bench.store.open()
        await bench.publish("m", A)
        shutil.copytree(tmp_path / "models" / digest(A), tmp_path / "models" / digest(B))
        (tmp_path / "models" / "of-the-operator").mkdir()
        (tmp_path / "staging" / "x" / "files").mkdir(parents=True)
        (tmp_path / "staging" / "y").touch()
        (tmp_path / "staging" / "z").symlink_to(tmp_path / "models")
        await Bench(tmp_path).store.open()
        assert bench.staged() == []
        assert bench.folders() == {digest(A), "of-the-operator"}

    @pytest.mark.parametrize("damage", DAMAGES)
    async def test_a_damaged_model_is_put_aside(
        self, tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        bench = Bench(tmp_path)
        await bench.store.open()
        await bench.publish("owner/m", A)
        await bench.publish("n", B)
        _spoil(tmp_path, damage)
        there = bench.folders()
        again = Bench(tmp_path)
        with caplog.at_level(logging.ERROR):
            await again.store.open()
        assert await again.listed() == {"n": [B]}
        assert again.folders() == there, "an operator may still mend it"
        assert [r.message for r in caplog.records if "owner~m.json is put aside" in r.message]
        assert names_in(tmp_path / "names" / "upload") == ["n.json", "owner~m.json.bad"]
        await again.publish("owner/m", A)

    async def test_a_damaged_previous_revision_is_forgotten(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path)
        await bench.store.open()
        for model in (A, B):
            await bench.publish("m", model)
        (tmp_path / "models" / digest(A) / "files" / "config.json").write_bytes(b"")
        peeked = Bench(tmp_path)
        await peeked.store.peek()
        assert await peeked.listed() == {"m": [B]}
        for _ in range(2):
            again = Bench(tmp_path)
            await again.store.open()
            assert await again.listed() == {"m": [B]}
            assert again.folders() == {digest(B)}

    async def test_peeking_changes_nothing(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path)
        await bench.store.peek()
        assert list(tmp_path.iterdir()) == []
        await bench.store.open()
        await bench.publish("m", A)
        await bench.publish("n", B)
        _spoil(tmp_path, "shorter", B)
        async with bench.store.stage("upload", "x"):
            before = sorted(map(str, tmp_path.rglob("*")))
            other = Bench(tmp_path)
            await other.store.peek()
            assert await other.listed() == {"m": [A]}
            assert sorted(map(str, tmp_path.rglob("*"))) == before

    async def test_the_format_is_written_and_known(self, tmp_path: Path) -> None:
        for _ in range(2):
            await Bench(tmp_path / "new" / "data").store.open()
            assert (tmp_path / "new" / "data" / "FORMAT").read_text() == "1\n"

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("2\n", "format 2, this version reads 1: use a newer version"),
            ("0", "format 0, this version reads 1: use an older version, or another directory"),
            ("one", "holds no number"),
            ("", "holds no number"),
            ("²", "holds no number"),
            ("9" * 5000, "holds no number"),
        ],
    )
    async def test_another_format_is_refused(self, tmp_path: Path, text: str, why: str) -> None:
        (tmp_path / "FORMAT").write_text(text)
        for way in (Bench(tmp_path).store.open, Bench(tmp_path).store.peek):
            with pytest.raises(ConfigurationError, match=why):
                await way()
        assert names_in(tmp_path) == ["FORMAT"]

    async def test_a_folder_that_cannot_be_used(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(ConfigurationError, match=r"server\.data_dir: .*file.* cannot be used"):
            await Bench(tmp_path / "file").store.open()

    async def test_one_that_cannot_be_read_loses_nothing(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path)
        await bench.store.open()
        await bench.publish("m", A)
        pointer = tmp_path / "names" / "upload" / "m.json"
        pointer.rename(tmp_path / "kept")
        pointer.mkdir()  # reading it is an OSError, as a failing disk's
        with pytest.raises(ConfigurationError, match="cannot be used"):
            await Bench(tmp_path).store.open()
        assert bench.folders() == {digest(A)}

    async def test_closing_leaves_files_in_use_to_the_next_start(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path, threads=BoundedThreads(2))
        await bench.store.open()
        old = (await bench.publish("m", A)).snapshot
        with bench.holds.hold(old):
            await bench.store.remove("upload", REF)
            await bench.store.aclose()
            assert contents(old) == A
        again = Bench(tmp_path)
        await again.store.open()
        assert again.folders() == set()


def _spoil(folder: Path, damage: str, model: dict[str, bytes] | None = None) -> None:
    stored = folder / "models" / digest(model or A)
    pointer = folder / "names" / "upload" / "owner~m.json"
    match damage:
        case "shorter":
            (stored / "files" / "model.safetensors").write_bytes(b"A")
        case "missing file":
            (stored / "files" / "config.json").unlink()
        case "no folder":
            shutil.rmtree(stored / "files")
            (stored / "files").touch()
        case "missing folder":
            shutil.rmtree(stored)
        case "manifest":
            (stored / "manifest.json").write_bytes(b'{"files": [')
        case "pointer":
            pointer.write_bytes(pointer.read_bytes()[:-1])
        case "misplaced":
            values = json.loads(pointer.read_bytes())
            pointer.write_text(json.dumps(values | {"name": "owner/else"}))
        case "foreign":
            values = json.loads(pointer.read_bytes())
            values["revisions"][0]["digest"] = "../../x"
            pointer.write_text(json.dumps(values))


async def test_publishing_it_again_mends_what_was_damaged(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    await bench.store.open()
    await bench.publish("owner/m", A)
    _spoil(tmp_path, "missing file")
    again = Bench(tmp_path)
    await again.store.open()
    assert await again.listed() == {}
    await again.publish("owner/m", A)
    assert await again.listed() == {"owner/m": [A]}
    assert again.staged() == []
