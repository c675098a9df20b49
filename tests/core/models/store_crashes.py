"""Kills itself in the middle of a change of the store: run by test_store_crashes, in a process.

`python -m tests.core.models.store_crashes FOLDER` leaves FOLDER/<change>/<way>-<N> for each
change, each way to die, and each N of the file-system calls that the change makes.
"""

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path

from embedwell.interfaces.models import ModelRef
from embedwell.models.files import Files
from tests.core.models.store_bench import A, B, Bench, C, Model, Quick, digest

CALLS = sorted(name for name in vars(Files) if not name.startswith("_") and name != "free")
# Before a call is after the one before it. With the power goes what was not synced.
WAYS = ("after", "within", "power")
OTHER: Model = {"config.json": b"{}", "other": b"o"}
REF = ModelRef("m")


class Interrupted(Quick):
    """Has its N-th call interrupted by `interrupt`, in one of the ways; `call` is which it was."""

    def __init__(self, at: int, way: str, interrupt: Callable[[], None]) -> None:
        self._at = at
        self._way = way
        self._interrupt = interrupt
        self._count = 0
        self._unsynced: set[Path] = set()
        self.call: tuple[str, Path] | None = None

    def stop(self) -> bool:
        """Interrupt nothing any more; whether something was."""
        self._at = 0
        return self.call is not None

    def mkdir(self, path: Path) -> None:
        self._do("mkdir", path, lambda: Quick.mkdir(self, path))

    def write(self, path: Path, data: bytes) -> None:
        self._unsynced.add(path)
        half = data[: len(data) // 2]
        whole, part = (partial(Quick.write, self, path, piece) for piece in (data, half))
        self._do("write", path, whole, part)

    def append(self, path: Path, data: bytes) -> None:
        self._unsynced.add(path)
        half = data[: len(data) // 2]
        whole, part = (partial(Quick.append, self, path, piece) for piece in (data, half))
        self._do("append", path, whole, part)

    def fsync(self, path: Path) -> None:
        self._do("fsync", path, lambda: Quick.fsync(self, path))
        self._unsynced.discard(path)

    def rename(self, source: Path, target: Path) -> None:
        self._do("rename", target, lambda: self._rename(source, target))

    def _rename(self, source: Path, target: Path) -> None:
        super().rename(source, target)
        self._unsynced = {_moved(path, source, target) for path in self._unsynced}

    def unlink(self, path: Path) -> None:
        self._do("unlink", path, lambda: Quick.unlink(self, path))

    def rmtree(self, path: Path) -> None:
        whole = partial(Quick.rmtree, self, path)
        self._do("rmtree", path, whole, lambda: _remove_one_file(path))

    def _do(
        self,
        name: str,
        path: Path,
        whole: Callable[[], None],
        half: Callable[[], None] = lambda: None,
    ) -> None:
        self._count += 1
        if self._count != self._at:
            whole()
            return
        self.call = (name, path)
        if self._way != "before":
            (half if self._way == "within" else whole)()
        if self._way == "power":
            for lost in filter(Path.exists, self._unsynced):
                lost.write_bytes(b"")
        self._interrupt()


def _moved(path: Path, source: Path, target: Path) -> Path:
    return target / path.relative_to(source) if path.is_relative_to(source) else path


def _remove_one_file(path: Path) -> None:
    for file in [file for file in path.rglob("*") if file.is_file()][:1]:
        file.unlink()


Change = Callable[[Bench], Awaitable[object]]


async def nothing(bench: Bench) -> None:
    """The start alone."""


async def publish(bench: Bench) -> None:
    await bench.publish("m", B)


async def remove(bench: Bench) -> None:
    await bench.store.remove("upload", REF)


async def remove_one(bench: Bench) -> None:
    await bench.store.remove("upload", ModelRef("m", digest(A)))


async def share(bench: Bench) -> None:
    await bench.publish("m", OTHER)


class Case:
    """A change, what the name `m` held before, what it may hold after, and revisions kept."""

    def __init__(
        self, change: Change, before: list[Model], after: list[Model], keep: int = 0
    ) -> None:
        self.change = change
        self.before = before
        self.after = after
        self.keep = keep

    async def prepare(self, folder: Path) -> None:
        bench = Bench(folder, keep_revisions=2)
        await bench.store.open()
        await bench.publish("other", OTHER)
        for model in reversed(self.before):
            await bench.publish("m", model)
        if self.change is nothing:
            _litter(folder)

    async def run(self, folder: Path, files: Files) -> None:
        bench = Bench(folder, files=files, keep_revisions=self.keep)
        await bench.store.open()
        try:
            await self.change(bench)
        finally:
            await bench.store.settled()


CASES = {
    "start": Case(nothing, [A], [A]),
    "publish": Case(publish, [], [B]),
    "replace": Case(publish, [A], [B]),
    "replace-and-keep": Case(publish, [A, C], [B, A], keep=1),
    "share": Case(share, [A], [OTHER]),
    "remove": Case(remove, [A, C], []),
    "remove-one": Case(remove_one, [A, C], [C], keep=2),
}


def _litter(folder: Path) -> None:
    """What a crash and a failing disk leave, for the start to deal with."""
    shutil.copytree(folder / "models" / digest(A), folder / "models" / digest(C))
    shutil.copytree(folder / "models" / digest(A), folder / "staging" / "trash-1")
    (folder / "staging" / "2").write_bytes(b"{")
    (folder / "names" / "upload" / "damaged.json").write_bytes(b"{")


def _outcomes(case: Case, base: Path) -> Iterator[bool]:
    """For N = 1, 2, 3 … whether any way to die at the N-th call was reached."""
    for at in range(1, 10_000):
        died = [_dies(case, base, base.with_name(f"{way}-{at}"), at, way) for way in WAYS]
        yield any(died)


def _dies(case: Case, base: Path, folder: Path, at: int, way: str) -> bool:
    shutil.copytree(base, folder)
    child = os.fork()
    if child == 0:
        die = lambda: os.kill(os.getpid(), signal.SIGKILL)  # noqa: E731
        try:
            asyncio.run(case.run(folder, Interrupted(at, way, die)))
            os._exit(0)
        except BaseException as error:
            sys.excepthook(type(error), error, error.__traceback__)
            os._exit(1)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return True
    assert os.waitstatus_to_exitcode(status) == 0, f"{folder} failed"
    return False


def main(root: Path) -> None:
    for name, case in CASES.items():
        base = root / name / "base"
        asyncio.run(case.prepare(base))
        for reached in _outcomes(case, base):
            if not reached:
                break


if __name__ == "__main__":
    main(Path(sys.argv[1]))
