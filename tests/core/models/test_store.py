"""The store: publish, replace, keep, remove, make room, start again."""

import asyncio
import errno
import io
import json
import logging
import os
import shutil
import threading
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from embedwell.errors import (
    ConfigurationError,
    Conflict,
    InsufficientStorage,
    Invalid,
    InvalidModel,
    ModelNotFound,
)
from embedwell.interfaces.models import ModelKey, ModelRef
from embedwell.models import room
from embedwell.models.holds import Gone
from embedwell.tasks.threads import BoundedThreads
from tests.core.models.store_bench import A, B, Bench, C, Quick, contents, digest

REF = ModelRef("m")


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path / "data", threads=BoundedThreads(2))
    await made.store.open()
    yield made
    await made.store.aclose()
    assert made.staged() == []


def keys(*revisions: str) -> list[ModelKey]:
    return [ModelKey("upload", "m", revision) for revision in revisions]


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class TestPublishing:
    async def test_what_was_written_is_what_is_found(self, bench: Bench) -> None:
        done = await bench.publish("m", A)
        assert done.snapshot.key == ModelKey("upload", "m", digest(A))
        assert done.snapshot.digest == digest(A)
        assert (done.bytes, done.files, done.replaced) == (sum(map(len, A.values())), 3, None)
        assert contents(done.snapshot) == A
        assert await bench.store.find("upload", REF) == done.snapshot
        assert await bench.store.models("upload") == [done.snapshot]
        assert bench.changes == [[]], "lower sources' answers for the name are void"

    async def test_a_name_is_one_sources_own(self, bench: Bench) -> None:
        await bench.publish("m", A)
        assert await bench.store.find("github", REF) is None
        assert await bench.store.models("github") == []
        with pytest.raises(ModelNotFound, match="m"):
            await bench.store.remove("github", REF)

    async def test_files_are_written_piece_by_piece(self, bench: Bench) -> None:
        async with bench.store.stage("upload", "m") as staging:
            for piece in (b"{", b"}"):
                await staging.write("./config.json", piece)
            done = await staging.publish()
        assert contents(done.snapshot) == {"config.json": b"{}"}

    async def test_an_archive_is_kept_piece_by_piece_and_taken_apart(self, bench: Bench) -> None:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            for name, data in A.items():
                archive.writestr(f"top/{name}", data)
            archive.writestr("top/README.md", "not wanted")
        async with bench.store.stage("upload", "m") as staging:
            for i in range(0, len(packed.getvalue()), 100):
                await staging.keep(packed.getvalue()[i : i + 100])
            await staging.unpack(only=lambda name: name != "README.md")
            done = await staging.publish()
        assert contents(done.snapshot) == A
        assert names_in(done.snapshot.path.parent) == ["files", "manifest.json"]

    async def test_an_archive_of_nothing_is_refused(self, bench: Bench) -> None:
        async with bench.store.stage("upload", "m") as staging:
            with pytest.raises(InvalidModel, match="The archive is empty"):
                await staging.unpack()

    async def test_files_that_others_wrote_count_too(self, bench: Bench) -> None:
        async with bench.store.stage("upload", "m") as staging:
            (staging.path / "config.json").write_bytes(b"{}")
            done = await staging.publish()
        assert contents(done.snapshot) == {"config.json": b"{}"}

    async def test_strays_are_left_out(self, bench: Bench) -> None:
        async with bench.store.stage("upload", "m") as staging:
            await staging.write(".gitattributes", b"x")
            (staging.path / ".cache" / "huggingface").mkdir(parents=True)
            (staging.path / ".cache" / "huggingface" / "x.lock").touch()
            await staging.write("config.json", b"{}")
            done = await staging.publish()
        assert contents(done.snapshot) == {"config.json": b"{}"}
        assert names_in(done.snapshot.path) == ["config.json"]

    async def test_a_revision_may_be_given(self, bench: Bench) -> None:
        done = await bench.publish("m", A, "c0ffee")
        assert done.snapshot.key.revision == "c0ffee"
        assert done.snapshot.digest == digest(A)
        assert await bench.store.find("upload", ModelRef("m", "c0ffee")) == done.snapshot

    async def test_one_that_nobody_could_ask_for_is_refused(self, bench: Bench) -> None:
        with pytest.raises(Invalid, match="Not a revision"):
            await bench.publish("m", A, "../x")
        assert await bench.listed() == {}

    async def test_two_names_with_one_content_share_its_files(self, bench: Bench) -> None:
        first, second = await bench.publish("m", A), await bench.publish("owner/n", A)
        assert first.snapshot.path == second.snapshot.path
        await bench.store.remove("upload", REF)
        await bench.store.settled()
        assert await bench.listed() == {"owner/n": [A]}

    async def test_it_is_over_once_it_is_published(self, bench: Bench) -> None:
        async with bench.store.stage("upload", "m") as staging:
            await staging.write("config.json", b"{}")
            await staging.publish()
            with pytest.raises(RuntimeError, match="once"):
                await staging.publish()
        assert await bench.listed() == {"m": [{"config.json": b"{}"}]}


class TestRefusals:
    @pytest.mark.parametrize("name", ["upload", "nul", "a:b", "../x"])
    async def test_names(self, bench: Bench, name: str) -> None:
        with pytest.raises(Invalid):
            await bench.publish(name, A)

    async def test_sources(self, bench: Bench) -> None:
        with pytest.raises(Invalid, match="source"):
            await bench.publish("m", A, source="../x")

    async def test_file_names(self, bench: Bench) -> None:
        async with bench.store.stage("upload", "m") as staging:
            await staging.write("a.bin", b"")
            with pytest.raises(InvalidModel, match="out of the model"):
                await staging.write("../x", b"")
            with pytest.raises(InvalidModel, match="only in case"):
                await staging.write("A.bin", b"")

    async def test_no_files(self, bench: Bench) -> None:
        with pytest.raises(InvalidModel, match="It has no files"):
            await bench.publish("m", {})

    async def test_what_the_check_refuses(self, bench: Bench) -> None:
        with pytest.raises(InvalidModel, match=r"config\.json is missing"):
            await bench.publish("m", {"x": b""})
        assert await bench.listed() == {}
        await bench.publish("m", A)

    @pytest.mark.parametrize("kind", ["symlink", "folder link", "fifo"])
    async def test_what_is_no_regular_file(self, bench: Bench, kind: str) -> None:
        async with bench.store.stage("upload", "m") as staging:
            await staging.write("config.json", b"{}")
            if kind == "fifo":
                os.mkfifo(staging.path / "x")
            else:
                (staging.path / "x").symlink_to("config.json" if kind == "symlink" else "/etc")
            with pytest.raises(InvalidModel, match="'x' is not a regular file"):
                await staging.publish()

    async def test_names_that_differ_in_case_only(self, bench: Bench) -> None:
        await bench.publish("Model", A)
        with pytest.raises(Conflict, match="a model named Model; a name must differ in more"):
            await bench.publish("model", A)
        await bench.publish("Model", B)
        await bench.publish("model", A, source="github")

    async def test_a_name_that_is_being_published(self, bench: Bench) -> None:
        async with bench.store.stage("upload", "m"):
            for name in ("m", "M"):
                with pytest.raises(Conflict, match="just being published"):
                    await bench.publish(name, A)
            await bench.publish("n", A)
            await bench.publish("m", A, source="github")
        await bench.publish("m", B)

    async def test_removing_it_meanwhile(self, bench: Bench) -> None:
        await bench.publish("m", A)
        async with bench.store.stage("upload", "m"):
            with pytest.raises(Conflict, match="just being published"):
                await bench.store.remove("upload", REF)
        await bench.store.remove("upload", REF)


class TestReplacing:
    async def test_the_previous_revision_stays(self, bench: Bench) -> None:
        await bench.publish("m", A)
        done = await bench.publish("m", B)
        assert done.replaced == digest(A)
        assert await bench.listed() == {"m": [B, A]}
        old = await bench.store.find("upload", ModelRef("m", digest(A)))
        assert old is not None
        assert contents(old) == A
        assert bench.changes == [[], keys(digest(A))]

    async def test_the_one_before_goes(self, bench: Bench) -> None:
        for model in (A, B, C):
            await bench.publish("m", model)
        await bench.store.settled()
        assert await bench.listed() == {"m": [C, B]}
        assert bench.folders() == {digest(B), digest(C)}
        assert bench.changes[-1] == keys(digest(B), digest(A))

    async def test_an_unknown_revision_is_not_found(self, bench: Bench) -> None:
        await bench.publish("m", A)
        assert await bench.store.find("upload", ModelRef("m", digest(B))) is None

    async def test_the_same_content_again_changes_nothing(self, bench: Bench) -> None:
        first = await bench.publish("m", A)
        again = await bench.publish("m", A)
        assert again.snapshot == first.snapshot
        assert again.replaced == digest(A)
        assert await bench.listed() == {"m": [A]}
        assert bench.changes == [[]]

    async def test_going_back_to_an_earlier_content(self, bench: Bench) -> None:
        for model in (A, B, A):
            await bench.publish("m", model)
        assert await bench.listed() == {"m": [A, B]}
        assert bench.changes[-1] == keys(digest(B))

    async def test_one_revision_with_another_content_is_a_change(self, bench: Bench) -> None:
        await bench.publish("m", A, "commit")
        await bench.publish("m", B, "commit")
        assert await bench.listed() == {"m": [B]}
        assert bench.changes[-1] == keys("commit")

    async def test_files_in_use_go_when_the_last_user_leaves(self, bench: Bench) -> None:
        old = (await bench.publish("m", A)).snapshot
        with bench.holds.hold(old):
            for model in (B, C):
                await bench.publish("m", model)
            waiting = asyncio.create_task(bench.store.released(old))
            await asyncio.sleep(0)
            assert contents(old) == A
            assert not waiting.done()
        await waiting
        await bench.store.settled()
        assert not old.path.exists()
        with pytest.raises(Gone), bench.holds.hold(old):
            pass

    async def test_content_that_comes_back_before_its_files_went(self, bench: Bench) -> None:
        old = (await bench.publish("m", A)).snapshot
        with bench.holds.hold(old):
            await bench.store.remove("upload", REF)
            await bench.publish("m", A)
        await bench.store.settled()
        assert await bench.listed() == {"m": [A]}
        with bench.holds.hold(old):
            assert contents(old) == A

    async def test_content_that_comes_back_after_they_went(self, bench: Bench) -> None:
        old = (await bench.publish("m", A)).snapshot
        await bench.store.remove("upload", REF)
        await bench.store.settled()
        await bench.publish("m", A)
        with bench.holds.hold(old):
            assert contents(old) == A

    async def test_the_same_content_published_and_removed_at_once(self, bench: Bench) -> None:
        async def one(name: str) -> None:
            for _ in range(5):
                done = await bench.publish(name, A)
                assert contents(done.snapshot) == A
                await bench.store.remove("upload", ModelRef(name))

        await asyncio.gather(*(one(f"m{i}") for i in range(4)))
        await bench.store.settled()
        assert (await bench.listed(), bench.folders()) == ({}, set())


class TestRemoving:
    async def test_a_name_goes_with_all_its_revisions(self, bench: Bench) -> None:
        for model in (A, B):
            await bench.publish("m", model)
        await bench.store.remove("upload", REF)
        assert await bench.store.find("upload", REF) is None
        assert bench.changes[-1] == keys(digest(B), digest(A))
        await bench.store.settled()
        assert bench.folders() == set()

    @pytest.mark.parametrize(("gone", "left"), [(A, B), (B, A)])
    async def test_one_revision_leaves_the_other(
        self, bench: Bench, gone: dict[str, bytes], left: dict[str, bytes]
    ) -> None:
        for model in (A, B):
            await bench.publish("m", model)
        await bench.store.remove("upload", ModelRef("m", digest(gone)))
        await bench.store.settled()
        assert await bench.listed() == {"m": [left]}
        assert bench.changes[-1] == keys(digest(gone))

    async def test_the_last_revision_takes_the_name_along(self, bench: Bench) -> None:
        await bench.publish("m", A)
        await bench.store.remove("upload", ModelRef("m", digest(A)))
        assert await bench.listed() == {}

    @pytest.mark.parametrize("ref", [ModelRef("n"), ModelRef("m", "else"), ModelRef("M")])
    async def test_what_is_not_there(self, bench: Bench, ref: ModelRef) -> None:
        await bench.publish("m", A)
        with pytest.raises(ModelNotFound, match=str(ref)):
            await bench.store.remove("upload", ref)


class TestClientsThatLeave:
    async def test_leaving_while_writing(self, bench: Bench) -> None:
        async def leave() -> None:
            async with bench.store.stage("upload", "m") as staging:
                await staging.write("config.json", b"{}")
                raise asyncio.CancelledError

        with pytest.raises(asyncio.CancelledError):
            await leave()
        assert bench.staged() == []
        await bench.publish("m", A)

    @pytest.mark.parametrize("steps", range(40))
    async def test_leaving_at_any_moment(self, tmp_path: Path, steps: int) -> None:
        bench = Bench(tmp_path, threads=BoundedThreads(2), keep_revisions=0)
        await bench.store.open()
        await bench.publish("m", A)
        task = asyncio.create_task(bench.publish("m", B))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert bench.staged() == []
        await bench.store.settled()
        assert await bench.listed() in ({"m": [A]}, {"m": [B]})
        assert len(bench.folders()) == 1
        await bench.publish("m", C)
        await bench.store.aclose()

    @pytest.mark.parametrize("stop", ["mkdir", "append", "write", "fsync", "rename"])
    async def test_leaving_while_the_disk_is_slow(self, tmp_path: Path, stop: str) -> None:
        files = Slow(stop)
        bench = Bench(tmp_path, files=files, threads=BoundedThreads(2))
        await bench.store.open()
        await bench.publish("m", A)
        files.slow = True
        task = asyncio.create_task(bench.publish("m", B))
        await asyncio.to_thread(files.reached.wait)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        files.go.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert bench.staged() == []
        assert (await bench.listed())["m"] in ([A], [B, A])
        await bench.publish("m", C)
        await bench.store.aclose()


class Slow(Quick):
    """Stops in its next call of one kind until it is told to go on."""

    def __init__(self, stop: str) -> None:
        self.stop = stop
        self.slow = False
        self.reached = threading.Event()
        self.go = threading.Event()

    def _wait(self, name: str) -> None:
        if self.slow and name == self.stop:
            self.slow = False
            self.reached.set()
            assert self.go.wait(10)

    def mkdir(self, path: Path) -> None:
        self._wait("mkdir")
        super().mkdir(path)

    def append(self, path: Path, data: bytes) -> None:
        self._wait("append")
        super().append(path, data)

    def write(self, path: Path, data: bytes) -> None:
        self._wait("write")
        super().write(path, data)

    def fsync(self, path: Path) -> None:
        self._wait("fsync")
        super().fsync(path)

    def rename(self, source: Path, target: Path) -> None:
        self._wait("rename")
        super().rename(source, target)


class Full(Quick):
    """Says how much is free."""

    def __init__(self) -> None:
        self.left = 10 * room.GB

    def free(self, path: Path) -> int:
        return self.left


class TestRoom:
    async def test_there_is_enough(self, bench: Bench) -> None:
        await bench.store.make_room(1000)

    async def test_a_full_disk_and_nothing_to_give(self, tmp_path: Path) -> None:
        files = Full()
        bench = Bench(tmp_path, files=files)
        await bench.store.open()
        await bench.publish("m", A)
        files.left = 150_000_000
        await bench.store.make_room(50_000_000)
        with pytest.raises(InsufficientStorage, match=r"disk is full: 50\.0 MB more would leave"):
            await bench.store.make_room(50_000_001)

    async def test_uploads_do_not_take_the_last_of_the_disk(self, tmp_path: Path) -> None:
        files = Full()
        bench = Bench(tmp_path, files=files)
        await bench.store.open()
        async with bench.store.stage("upload", "m") as staging:
            files.left = room.RESERVE + 3
            await staging.write("config.json", b"123")
            with pytest.raises(InsufficientStorage, match="The disk is full"):
                await staging.keep(b"1234")

    async def test_previous_revisions_go_first_the_oldest_before(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path, keep_revisions=5)
        await bench.store.open()
        big = {"config.json": b"{}", "x": bytes(40_000)}
        for i in range(3):
            await bench.publish("m", big | {"n": str(i).encode()})
            await bench.publish("n", big | {"n": f"{i}!".encode()})
        limited = Bench(tmp_path, keep_revisions=5, max_disk_gb=0.000300)
        await limited.store.open()
        await limited.store.make_room(100_000)
        found = await limited.listed()
        assert [model["n"] for model in found["m"]] == [b"2", b"1"]
        assert [model["n"] for model in found["n"]] == [b"2!", b"1!"]
        assert len(limited.folders()) == 4, "room was made when it returned"

    async def test_what_is_in_use_or_current_stays(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path, keep_revisions=5, max_disk_gb=0.000100)
        await bench.store.open()
        old = (await bench.publish("m", A | {"x": bytes(40_000)})).snapshot
        await bench.publish("m", A | {"x": bytes(40_001)})
        with bench.holds.hold(old):
            with pytest.raises(InsufficientStorage, match=r"store\.max_disk_gb = 0\.0001"):
                await bench.store.make_room(50_000)
            assert len((await bench.listed())["m"]) == 2, "it gave up nothing in vain"
        await bench.store.make_room(50_000)
        assert len((await bench.listed())["m"]) == 1
        with pytest.raises(InsufficientStorage, match="delete models or raise the limit"):
            await bench.store.make_room(60_000)

    async def test_it_holds_for_what_was_not_announced_too(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path, max_disk_gb=0.000100)
        await bench.store.open()
        await bench.publish("m", A)
        with pytest.raises(InsufficientStorage, match="this model would pass"):
            await bench.publish("n", A | {"x": bytes(120_000)})
        assert await bench.listed() == {"m": [A]}
        assert bench.staged() == []

    @pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
    async def test_every_way_to_be_full(self, tmp_path: Path, code: int) -> None:
        class Failing(Quick):
            def append(self, path: Path, data: bytes) -> None:
                raise OSError(code, "no", str(path))

        bench = Bench(tmp_path, files=Failing())
        await bench.store.open()
        with pytest.raises(InsufficientStorage, match="The disk is full") as caught:
            await bench.publish("m", A)
        assert str(tmp_path) not in caught.value.message


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

    @pytest.mark.parametrize(
        "damage", ["shorter", "missing file", "missing folder", "manifest", "pointer", "foreign"]
    )
    async def test_a_damaged_model_is_put_aside(
        self, tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        bench = Bench(tmp_path)
        await bench.store.open()
        await bench.publish("owner/m", A)
        await bench.publish("n", B)
        _spoil(tmp_path, damage)
        again = Bench(tmp_path)
        with caplog.at_level(logging.ERROR):
            await again.store.open()
        assert await again.listed() == {"n": [B]}
        assert again.folders() == {digest(B)}
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
        case "missing folder":
            shutil.rmtree(stored)
        case "manifest":
            (stored / "manifest.json").write_bytes(b'{"files": [')
        case "pointer":
            pointer.write_bytes(pointer.read_bytes()[:-1])
        case "foreign":
            values = json.loads(pointer.read_bytes())
            values["revisions"][0]["digest"] = "../../x"
            pointer.write_text(json.dumps(values))


class TestOrder:
    async def test_nothing_is_pointed_to_before_it_is_on_the_disk(self, tmp_path: Path) -> None:
        files = Recorded(tmp_path)
        bench = Bench(tmp_path, files=files)
        await bench.store.open()
        files.calls.clear()
        await bench.publish("m", A)
        placed = files.first("rename", f"models/{digest(A)}")
        pointed = files.first("rename", "names/upload/m.json")
        synced = [path for name, path in files.calls[:placed] if name == "fsync"]
        assert len([path for path in synced if path.startswith("staging/")]) == 3 + 2 + 1 + 1
        assert synced[-2].endswith("/manifest.json"), "after its files"
        assert ("fsync", "models") in files.calls[placed:pointed]
        assert ("fsync", "names/upload") in files.calls[pointed:]

    async def test_files_go_after_the_name(self, tmp_path: Path) -> None:
        files = Recorded(tmp_path)
        bench = Bench(tmp_path, files=files)
        await bench.store.open()
        await bench.publish("m", A)
        files.calls.clear()
        await bench.store.remove("upload", REF)
        await bench.store.settled()
        assert [name for name, _ in files.calls] == ["unlink", "fsync", "rename", "rmtree"]
        assert files.calls[1] == ("fsync", "names/upload")


class Recorded(Quick):
    """Which calls it got; of a rename, the target."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.calls: list[tuple[str, str]] = []

    def first(self, name: str, path: str) -> int:
        return self.calls.index((name, path))

    def _add(self, name: str, path: Path) -> None:
        self.calls.append((name, path.relative_to(self.root).as_posix()))

    def fsync(self, path: Path) -> None:
        self._add("fsync", path)
        super().fsync(path)

    def rename(self, source: Path, target: Path) -> None:
        self._add("rename", target)
        super().rename(source, target)

    def unlink(self, path: Path) -> None:
        self._add("unlink", path)
        super().unlink(path)

    def rmtree(self, path: Path) -> None:
        self._add("rmtree", path)
        super().rmtree(path)
