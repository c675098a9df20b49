"""The store: what is published is found, whole, and what may not be is refused."""

import io
import os
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from embedwell.errors import (
    Conflict,
    Invalid,
    InvalidModel,
    ModelNotFound,
)
from embedwell.interfaces.models import ModelKey, ModelRef
from tests.core.models.store_bench import A, B, Bench, contents, digest, names_in, open_bench

REF = ModelRef("m")


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with open_bench(tmp_path) as made:
        yield made


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

    async def test_both_go_with_the_last_name(self, bench: Bench) -> None:
        for name in ("m", "n"):
            await bench.publish(name, A)
            await bench.publish(name, B)
        for name in ("m", "n"):
            await bench.store.settled()
            assert bench.folders() == {digest(A), digest(B)}
            await bench.store.remove("upload", ModelRef(name))
        await bench.store.settled()
        assert bench.folders() == set()

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

    async def test_it_is_not_removed_meanwhile(self, bench: Bench) -> None:
        for name in ("m", "n"):
            await bench.publish(name, A)
        async with bench.store.stage("upload", "m") as staging:
            for ref in (REF, ModelRef("m", digest(A))):
                with pytest.raises(Conflict, match="just being published as m; retry later"):
                    await bench.store.remove("upload", ref)
            await bench.store.remove("upload", ModelRef("n"))
            with pytest.raises(ModelNotFound):
                await bench.store.remove("github", REF)
            await staging.write("config.json", b"{}")
        assert await bench.listed() == {"m": [A]}
        await bench.store.remove("upload", REF)
        assert await bench.listed() == {}
