"""The store: nothing is pointed to before it is on the disk, for a power cut's sake."""

from pathlib import Path

from embedwell.interfaces.models import ModelRef
from tests.core.models.store_bench import A, Bench, Quick, digest

REF = ModelRef("m")


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
