"""Models of the Hub that are deleted: what goes, when, and what stays."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from embedwell import Conflict, Fetch, ModelKey, ModelNotFound, ModelRef, ReadOnly, Snapshot
from embedwell.models.holds import Gone
from embedwell_source_huggingface import folders
from embedwell_source_huggingface.cache import LocalCache
from embedwell_source_huggingface.removal import Removal
from tests.sources.hub import COMMIT, store
from tests.sources.hub_bench import NEWER, REF, TINY, Bench, bench, quiet


@pytest.fixture
async def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    async with bench(tmp_path, monkeypatch) as made:
        yield made


async def test_a_deleted_model_is_gone_with_its_files(case: Bench) -> None:
    source = case.make()
    await case.pull(source, model=TINY)
    case.calls.clear()
    await source.delete(REF)
    assert await source.models() == []
    assert case.calls == [[ModelKey("huggingface", TINY, COMMIT)]]
    await quiet()
    assert not case.left()
    assert not case.left("blobs")


async def test_nobody_may_read_files_that_are_going(case: Bench) -> None:
    source = case.make()
    await case.pull(source, model=TINY)
    (found,) = await source.models()
    await source.delete(REF)
    await quiet()
    with pytest.raises(Gone), case.holds.hold(found):
        pytest.fail("held")


async def test_files_stay_while_a_request_reads_them(case: Bench) -> None:
    source = case.make()
    await case.pull(source, model=TINY)
    (found,) = await source.models()
    with case.holds.hold(found):
        await source.delete(REF)
        assert await source.models() == []
        with case.holds.hold(found):  # by one who found it just before it was deleted
            assert (found.path / "model.safetensors").stat().st_size > 0
        assert (found.path / "model.safetensors").stat().st_size > 0
    await quiet()
    assert not case.left()


async def test_a_deleted_model_that_is_downloaded_again_can_be_used(case: Bench) -> None:
    source = case.make()
    await case.pull(source, model=TINY)
    await source.delete(REF)
    await quiet()
    offer = await source.resolve(REF)
    assert isinstance(offer, Fetch)
    found = await offer.run(lambda done, total: None)
    with case.holds.hold(found):
        assert [row.key for row in await source.models()] == [found.key]


async def test_a_model_wanted_again_before_its_files_went_keeps_them(case: Bench) -> None:
    source = case.make()
    await case.pull(source, model=TINY)
    (found,) = await source.models()
    with case.holds.hold(found):
        await source.delete(REF)
        assert (await case.pull(source, model=TINY)).status == "done"
    await quiet()
    with case.holds.hold(found):
        assert await source.resolve(REF) == found


async def test_one_commit_is_deleted_and_the_other_keeps_its_files(case: Bench) -> None:
    source = case.make()
    await case.pull(source, model=TINY)
    case.hub.repos[TINY].commit = NEWER
    await case.pull(source, model=TINY)
    await source.delete(ModelRef(TINY, COMMIT))
    await quiet()
    (left,) = await source.models()
    assert left.key.revision == NEWER
    assert (left.path / "model.safetensors").stat().st_size > 0


async def test_what_other_programs_download_stays(case: Bench) -> None:
    """Into the same folder, of a commit that this server does not know."""
    old = store(case.cache, TINY, case.files, COMMIT)
    store(case.cache, TINY, case.files | {"model.safetensors": b"other weights"}, NEWER)
    blobs = old.parents[1] / "blobs"
    own = (old / "model.safetensors").resolve()
    theirs = {blobs / "a1b2", blobs / "a1b3.4c5d.incomplete"}  # linked to in a moment
    for file in theirs:
        file.write_bytes(b"arriving")
    before = {*blobs.iterdir()}
    await case.make(offline=True).delete(ModelRef(TINY, COMMIT))
    await quiet()
    assert {*blobs.iterdir()} == before - {own}


async def test_what_other_programs_download_stays_when_the_last_commit_goes(case: Bench) -> None:
    """In a shared cache: as huggingface_hub names the branch, then brings the files."""
    old = store(case.cache, TINY, case.files, COMMIT)
    folder = old.parents[1]
    theirs = {folder / "blobs" / "a1b2", folder / "blobs" / "a1b3.4c5d.incomplete"}
    left = folder / "blobs" / "a1b4.5d6e.incomplete"  # by a download that was killed
    for file in (*theirs, left):
        file.write_bytes(b"arriving")
    yesterday = left.stat().st_mtime - 90_000
    os.utime(left, (yesterday, yesterday))
    source = case.make(offline=True)
    (folder / "refs" / "pr").mkdir()
    (folder / "refs" / "pr" / "1").write_text(NEWER)
    await source.delete(REF)
    await quiet()
    files = {path for path in folder.rglob("*") if path.is_file()}
    assert files == theirs | {folder / "refs" / "pr" / "1"}
    assert {path.name for path in folder.iterdir()} == {"blobs", "refs"}


async def test_a_folder_without_anybodys_files_goes(case: Bench) -> None:
    source = case.make()
    await case.pull(source, model=TINY)
    await source.delete(REF)
    await quiet()
    assert not (case.cache / folders.repo_folder(TINY)).exists()


async def test_an_erasure_that_was_interrupted_is_taken_up(case: Bench) -> None:
    old = store(case.cache, TINY, case.files, COMMIT)
    store(case.cache, TINY, case.files | {"model.safetensors": b"other weights"}, NEWER)
    own = (old / "model.safetensors").resolve()
    own.unlink()
    own.mkdir()  # which cannot be unlinked
    folders.mark(old.parents[1], COMMIT)
    await case.make(offline=True).models()
    own.rmdir()
    own.write_bytes(b"weights")
    await case.make(offline=True).models()
    assert not own.exists()
    assert not old.exists()


async def test_a_branch_stands_for_its_commit(case: Bench) -> None:
    await case.pull(case.make(), model=TINY)
    case.hub.repos[TINY].commit = NEWER
    await case.pull(case.make(), model=TINY)
    source = case.make(offline=True)
    await source.delete(ModelRef(TINY, "main"))
    (left,) = await source.models()
    assert left.key.revision == COMMIT
    for absent in ("main", "no-such-branch", "../../x"):
        with pytest.raises(ModelNotFound):
            await source.delete(ModelRef(TINY, absent))


async def test_a_model_that_is_being_downloaded_is_not_deleted(case: Bench) -> None:
    source = case.make()
    await case.pull(source, model=TINY)
    case.hub.repos[TINY].commit = NEWER
    case.hub.repos[TINY].files["model.safetensors"] += b"more"
    case.hub.hang_in = "model.safetensors"
    task = await case.begin(source, model=TINY)
    await asyncio.to_thread(case.hub.hanging.wait)
    with pytest.raises(Conflict, match="some-owner/tiny is being downloaded; cancel the task"):
        await source.delete(REF)
    assert [row.key.revision for row in await source.models()] == [COMMIT]
    await case.services.tasks.cancel(task.id)
    await source.delete(REF)
    assert await source.models() == []


async def test_a_download_keeps_what_it_has_while_another_commit_goes(case: Bench) -> None:
    source = case.make()
    await case.pull(source, model=TINY)
    (old,) = await source.models()
    case.hub.repos[TINY].commit = NEWER
    case.hub.repos[TINY].files["model.safetensors"] += b"more"
    case.hub.hang_in = "model.safetensors"
    with case.holds.hold(old):
        await source.delete(REF)
        task = await case.begin(source, model=TINY)
        await asyncio.to_thread(case.hub.hanging.wait)
        arriving = case.left("*.incomplete")
        assert arriving
    for _ in range(20):  # the deleted commit is free to go now
        await case.services.threads.run(len, ())
    assert case.left("*.incomplete") == arriving
    assert case.left("model.safetensors")
    case.hub.resume.set()
    assert (await case.ended(task)).status == "done"
    await quiet()
    (new,) = await source.models()
    assert new.key.revision == NEWER
    assert not (new.path.parent / COMMIT).exists()
    with case.holds.hold(new):
        pass


async def test_files_of_a_deleted_model_go_at_the_next_start(case: Bench) -> None:
    source = case.make()
    await case.pull(source, model=TINY)
    (snapshot,) = await source.models()
    with case.holds.hold(snapshot):
        await source.delete(REF)
        await source.aclose()
    assert case.left()
    assert await case.make(offline=True).models() == []
    assert not case.left()


async def test_files_that_cannot_be_removed_do_not_stop_the_source(
    case: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    path = store(case.cache, "a/stuck", case.files)
    store(case.cache, TINY, case.files)
    store(case.cache, "z/going", case.files)
    blob = (path / "model.safetensors").resolve()
    blob.unlink()
    (blob / "x").mkdir(parents=True)
    for name in ("a/stuck", "z/going"):
        folders.mark(case.cache / folders.repo_folder(name), COMMIT)
    source = case.make(offline=True)
    for _ in range(2):
        assert [row.key.name for row in await source.models()] == [TINY]
    assert not (case.cache / folders.repo_folder("z/going")).exists()
    assert caplog.text.count("stay on the disk") == 1


async def test_names_that_are_no_text_do_not_keep_a_model(case: Bench) -> None:
    source = case.make()
    await case.pull(source, model=TINY)
    (snapshot,) = await source.models()
    (snapshot.path.parents[1] / "refs" / "strange").write_bytes(b"\xff\xfe")
    await source.delete(REF)
    await quiet()
    assert not case.left()


class Worn(LocalCache):
    """A disk that fails for one commit."""

    def forget(self, snapshot: Snapshot) -> None:
        if snapshot.key.revision == NEWER:
            raise OSError(5, "Input/output error")
        super().forget(snapshot)


async def test_where_one_fails_the_others_are_deleted_all_the_same(case: Bench) -> None:
    store(case.cache, TINY, case.files, NEWER)
    store(case.cache, TINY, case.files, COMMIT)  # the later one is main, and comes first
    removal = Removal(Worn([case.cache]), case.services)
    with pytest.raises(OSError, match="Input/output"):
        await removal.delete(REF)
    assert ModelKey("huggingface", TINY, COMMIT) in case.calls[0]
    await quiet()
    (left,) = LocalCache([case.cache]).every()
    assert left.key.revision == NEWER
    with case.holds.hold(left):
        assert not (left.path.parent / COMMIT).exists()


async def test_the_users_own_cache_is_not_ours_to_delete(case: Bench, tmp_path: Path) -> None:
    store(tmp_path / "user/.cache/huggingface/hub", TINY, case.files)
    source = case.make(offline=True)
    with pytest.raises(ReadOnly, match="only reads: remove it with huggingface_hub"):
        await source.delete(REF)
    assert len(await source.models()) == 1


async def test_what_lies_in_the_users_own_cache_is_not_said_to_be_gone(
    case: Bench, tmp_path: Path
) -> None:
    store(tmp_path / "user/.cache/huggingface/hub", TINY, case.files, NEWER)
    store(case.cache, TINY, case.files, COMMIT)
    source = case.make(offline=True)
    assert await source.delete(REF) == [COMMIT]
    assert [row.key.revision for row in await source.models()] == [NEWER]


async def test_a_model_that_is_not_there_cannot_be_deleted(case: Bench) -> None:
    with pytest.raises(ModelNotFound):
        await case.make().delete(REF)
