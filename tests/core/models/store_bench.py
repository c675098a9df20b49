"""A store with models of a few bytes, and what its folder must always look like."""

import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ParamSpec, TypeVar

from embedwell.config.schema import Store as Settings
from embedwell.errors import InvalidModel
from embedwell.interfaces.models import ModelKey, Snapshot
from embedwell.interfaces.services import Threads
from embedwell.interfaces.store import Published
from embedwell.models.archive import unpack
from embedwell.models.files import Files
from embedwell.models.holds import Holds
from embedwell.models.store import ModelStore
from embedwell.tasks.threads import BoundedThreads

P = ParamSpec("P")
T = TypeVar("T")

Model = dict[str, bytes]

A: Model = {"config.json": b"{}", "1_Pooling/config.json": b"a", "model.safetensors": b"A" * 50}
B: Model = {"config.json": b"{}", "model.safetensors": b"B" * 70}
C: Model = {"config.json": b"[]", "vocab.txt": b"c"}


class Inline:
    """Threads without threads."""

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return function(*args, **kwargs)


class Quick(Files):
    """Does not wait for the disk."""

    def fsync(self, path: Path) -> None:
        path.stat()


async def check(path: Path) -> None:
    if not (path / "config.json").exists():
        raise InvalidModel("config.json is missing")


class Bench:
    """One data directory; `reopened` is the process's next life."""

    def __init__(
        self,
        folder: Path,
        *,
        files: Files | None = None,
        threads: Threads | None = None,
        keep_revisions: int = 1,
        max_disk_gb: float = 0,
    ) -> None:
        self.folder = folder
        self.now = 1_000.0
        self.holds = Holds()
        self.changes: list[Sequence[ModelKey]] = []
        self.store = ModelStore(
            folder,
            settings=Settings(keep_revisions, max_disk_gb),
            threads=threads or Inline(),
            changed=self.changes.append,
            holds=self.holds,
            check=check,
            unpack=unpack,
            wall=lambda: self.now,
            files=files or Quick(),
        )

    async def publish(
        self, name: str, model: Model, revision: str | None = None, source: str = "upload"
    ) -> Published:
        self.now += 1
        async with self.store.stage(source, name) as staging:
            for file, data in model.items():
                await staging.write(file, data)
            return await staging.publish(revision)

    async def listed(self, source: str = "upload") -> dict[str, list[Model]]:
        """What each name holds, read from the disk, the current revision first."""
        found: dict[str, list[Model]] = {}
        for snapshot in await self.store.models(source):
            found.setdefault(snapshot.key.name, []).append(contents(snapshot))
        return found

    def folders(self) -> set[str]:
        return {path.name for path in (self.folder / "models").iterdir()}

    def staged(self) -> list[str]:
        return [path.name for path in (self.folder / "staging").iterdir()]


def contents(snapshot: Snapshot) -> Model:
    root = snapshot.path
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file()
    }


def digest(model: Model) -> str:
    """The sum as it is documented, worked out anew."""
    sums = [f"{path}\0{hashlib.sha256(data).hexdigest()}\0" for path, data in sorted(model.items())]
    return hashlib.sha256("".join(sums).encode()).hexdigest()


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@asynccontextmanager
async def open_bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """With real threads; nothing may be left in staging at the end."""
    made = Bench(tmp_path / "data", threads=BoundedThreads(2))
    await made.store.open()
    yield made
    await made.store.aclose()
    assert made.staged() == []
