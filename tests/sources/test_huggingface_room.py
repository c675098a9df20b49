"""Room for downloads: the store's share, the disk, and what goes for them."""

import asyncio
import errno
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from embedwell import Fetch, InsufficientStorage, ModelRef
from embedwell.config.schema import Store
from embedwell.models.files import Files
from embedwell.models.room import RESERVE
from embedwell_source_huggingface.coming import Coming
from embedwell_source_huggingface.full import full
from tests.sources.hub_bench import REF, TINY, Bench, bench

FAR = 50_000_000_000_000  # bytes, more than the disk has that tests run on


class Disk(Files):
    """Of a given size, of which only what lies below one folder is used."""

    def __init__(self, folder: Path, size: int) -> None:
        self._folder = folder
        self._size = size

    def free(self, path: Path) -> int:
        files = (file for file in self._folder.rglob("*") if file.is_file())
        return self._size - sum(file.lstat().st_size for file in files)


async def names(case: Bench) -> set[str]:
    return {snapshot.key.name for snapshot in await case.make(offline=True).models()}


async def test_downloads_stay_within_the_stores_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    share = Store(max_disk_gb=0.0000001)
    async with bench(tmp_path, monkeypatch, share) as case:
        assert "max_disk_gb" in str((await case.pull(case.make(), model=TINY)).error)


async def test_unused_downloads_go_and_a_start_counts_as_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bench(tmp_path / "measured", monkeypatch) as case:
        size = sum(map(len, case.files.values()))
    async with bench(tmp_path, monkeypatch, Store(max_disk_gb=size * 2.9 / 1e9)) as case:
        source = case.make()
        case.add("some-owner/second", 1)
        case.add("some-owner/third", 2)
        for name in (TINY, "some-owner/second"):
            assert (await case.pull(source, model=name)).status == "done"
        case.clock.now += 10_000
        for started in (case.make(), case.make()):  # after a restart nothing is known of before
            third = await case.pull(started, model="some-owner/third")
            assert third.status == "failed"
            assert "max_disk_gb" in str(third.error)
        source = case.make()
        case.clock.now += 3_601
        assert await source.resolve(ModelRef("some-owner/second"))
        assert (await case.pull(source, model="some-owner/third")).status == "done"
        assert await names(case) == {"some-owner/second", "some-owner/third"}


async def test_earlier_revisions_of_the_store_go_for_a_download(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bench(tmp_path / "measured", monkeypatch) as case:
        size = sum(map(len, case.files.values()))
        rest = size - len(case.files["model.safetensors"])
    disk = Disk(tmp_path / "data", FAR + RESERVE + rest + round(size * 1.5))
    async with bench(tmp_path, monkeypatch, disk=disk) as case:
        for number in range(2):
            async with case.services.store.stage("upload", "m") as staging:
                for name, data in case.files.items():
                    await staging.write(name, data)
                await staging.write("README.md", b"%d" % number)
                await staging.publish()
        case.hub.repos[TINY].claims["model.safetensors"] = FAR
        task = await case.pull(case.make(max_size_gb=100_000), model=TINY)
        assert (task.status, task.error) == ("done", None)
        assert len(await case.services.store.models("upload")) == 1


@pytest.mark.parametrize("places", [1, 2])
async def test_room_is_looked_for_when_the_turn_has_come_beside_who_downloads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, places: int
) -> None:
    async with bench(tmp_path / "measured", monkeypatch) as case:
        size = sum(map(len, case.files.values()))
    async with bench(tmp_path, monkeypatch, Store(max_disk_gb=size * 1.9 / 1e9)) as case:
        case.add("some-owner/second", 1)
        source = case.make(max_concurrent=places)
        case.hub.hang_in = "model.safetensors"
        first = await case.begin(source, model=TINY)
        await asyncio.to_thread(case.hub.hanging.wait)
        second = await case.begin(source, model="some-owner/second")
        for _ in range(20):  # time enough for what does not wait
            await case.services.threads.run(len, ())
        if places == 2:
            assert "max_disk_gb" in str((await case.ended(second)).error)
        case.hub.hang_in = ""
        case.hub.resume.set()
        assert (await case.ended(first)).status == "done"
        assert "max_disk_gb" in str((await case.ended(second)).error)
        assert await names(case) == {TINY}


async def test_what_is_still_to_come_is_what_was_not_reported() -> None:
    told: list[tuple[int, int | None]] = []
    coming = Coming()
    with coming.of(100, lambda done, total: told.append((done, total))) as moved:
        assert coming.bytes == 100
        with coming.of(50, lambda done, total: None):
            moved(70, 100)
            assert coming.bytes == 80
        moved(130, 100)
        assert coming.bytes == 0
    assert told == [(70, 100), (130, 100)]
    assert coming.bytes == 0


async def test_a_folder_elsewhere_must_have_room_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(tmp_path / "data", 2 * FAR)
    async with bench(tmp_path, monkeypatch, disk=disk) as case:
        case.hub.repos[TINY].claims["model.safetensors"] = FAR
        source = case.make(max_size_gb=100_000, cache_dir=str(tmp_path / "elsewhere"))
        task = await case.pull(source, model=TINY)
        assert "The disk has no room for some-owner/tiny: 50000.0 GB" in str(task.error)


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    """For this process and those that it starts: what exceeds it fails as on a full disk."""
    before, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, most))


async def test_a_disk_that_fills_up_during_a_download_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bench(tmp_path, monkeypatch) as case:
        offer = await case.make().resolve(REF)
        assert isinstance(offer, Fetch)
        with files_no_larger_than(5_000), pytest.raises(InsufficientStorage) as refused:
            await offer.run(lambda done, total: None)
        assert str(refused.value) == f"The disk is full: {TINY} could not be downloaded"
        assert (await offer.run(lambda done, total: None)).key == offer.key


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.ENOSPC, "x"), True),
        (OSError(errno.EDQUOT, "x"), True),
        (RuntimeError("CAS service error : IO Error: No space left on device (os error 28)"), True),
        (OSError(errno.EACCES, "Permission denied"), False),
        (RuntimeError("CAS service error : Network error"), False),
    ],
)
def test_a_full_disk_is_known_by_number_or_by_words(error: Exception, expected: bool) -> None:
    assert full(error) is expected
