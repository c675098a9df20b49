"""The store: what fits, what is given up for it, and a disk that is full."""

import errno
from pathlib import Path

import pytest

from embedwell.errors import (
    InsufficientStorage,
)
from embedwell.interfaces.models import ModelRef
from embedwell.models import room
from tests.core.models.store_bench import A, B, Bench, Quick

REF = ModelRef("m")


class Full(Quick):
    """Says how much is free."""

    def __init__(self) -> None:
        self.left = 10 * room.GB

    def free(self, path: Path) -> int:
        return self.left


class Small(Quick):
    """A disk that the store's own files fill."""

    def __init__(self, folder: Path, size: int) -> None:
        self._folder = folder
        self._size = size + room.RESERVE

    def free(self, path: Path) -> int:
        files = (file for file in self._folder.rglob("*") if file.is_file())
        return self._size - sum(file.stat().st_size for file in files)


class TestRoom:
    async def test_there_is_enough(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path)
        await bench.store.open()
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

    async def test_nothing_goes_for_a_size_that_is_only_said(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path, max_disk_gb=0.000100)
        await bench.store.open()
        models = [A | {"x": bytes(40_000 + n)} for n in range(2)]
        for model in models:
            await bench.publish("m", model)
        await bench.store.check_room(50_000)
        assert await bench.listed() == {"m": models[::-1]}
        with pytest.raises(InsufficientStorage, match="delete models or raise the limit"):
            await bench.store.check_room(60_000)

    async def test_earlier_revisions_go_for_bytes_that_have_come(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path, files=Small(tmp_path, 100_000))
        await bench.store.open()
        models = [A | {"x": bytes(40_000 + n)} for n in range(2)]
        for model in models:
            await bench.publish("m", model)
        async with bench.store.stage("upload", "n") as staging:
            await staging.keep(bytes(10_000))
            assert await bench.listed() == {"m": models[::-1]}, "there was room"
            await staging.keep(bytes(10_000))
            assert await bench.listed() == {"m": models[1:]}
            await staging.keep(bytes(30_000))
            with pytest.raises(InsufficientStorage, match="The disk is full"):
                await staging.keep(bytes(10_000))
        await bench.publish("n", A | {"x": bytes(50_000)})

    async def test_a_store_that_was_only_looked_at_gives_nothing_up(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path)
        await bench.store.open()
        await bench.publish("m", A)
        await bench.publish("m", B)
        files = Full()
        beside = Bench(tmp_path, files=files)
        await beside.store.peek()
        files.left = room.RESERVE + 10
        await beside.store.make_room(10)
        with pytest.raises(InsufficientStorage, match="disk is full"):
            await beside.store.make_room(11)
        assert len(bench.folders()) == 2

    async def test_a_content_that_another_name_has_is_not_given_up_for_nothing(
        self, tmp_path: Path
    ) -> None:
        bench = Bench(tmp_path, max_disk_gb=0.000200)
        await bench.store.open()
        big = {"config.json": b"{}", "x": bytes(40_000)}
        for name, second in (("m", A), ("n", B)):
            await bench.publish(name, big)
            await bench.publish(name, second)
        await bench.publish("o", big)
        with pytest.raises(InsufficientStorage):
            await bench.store.make_room(180_000)
        assert (await bench.listed())["m"] == [A, big]
        await bench.store.remove("upload", ModelRef("o"))
        await bench.store.make_room(180_000)
        assert await bench.listed() == {"m": [A], "n": [B]}

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
        with pytest.raises(InsufficientStorage, match="The store is full"):
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
