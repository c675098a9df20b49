"""The store: whoever leaves, at whatever moment, leaves nothing half-done."""

import asyncio
import errno
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from embedwell.interfaces.models import ModelRef
from embedwell.models.contents import Abandoned, measure
from embedwell.tasks.threads import BoundedThreads
from tests.core.models.store_bench import A, B, Bench, C, Quick, open_bench

REF = ModelRef("m")


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with open_bench(tmp_path) as made:
        yield made


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

    async def test_leaving_when_the_folder_cannot_be_moved_away(self, tmp_path: Path) -> None:
        class Stuck(Quick):
            def rename(self, source: Path, target: Path) -> None:
                if target.name.startswith("trash-"):
                    raise OSError(errno.ENOSPC, "No space left on device")
                super().rename(source, target)

        bench = Bench(tmp_path, files=Stuck())
        await bench.store.open()
        async with bench.store.stage("upload", "m") as staging:
            await staging.write("config.json", b"{}")
        assert bench.staged() == []

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
        for _ in range(20):
            await asyncio.to_thread(lambda: None)
        assert not task.done(), "it leaves no thread behind that writes into its folder"
        files.go.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert bench.staged() == []
        assert (await bench.listed())["m"] in ([A], [B, A])
        await bench.publish("m", C)
        await bench.store.aclose()


def test_reading_stops_once_nobody_waits(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"x")
    assert measure(tmp_path, ["x"], lambda: False).bytes == 1
    with pytest.raises(Abandoned):
        measure(tmp_path, ["x"], lambda: True)


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
