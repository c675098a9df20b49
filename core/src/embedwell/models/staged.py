"""A model on its way in: private files, that one call makes public."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from math import inf
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from embedwell.errors import InsufficientStorage, InvalidModel
from embedwell.interfaces.services import Threads
from embedwell.interfaces.store import Published
from embedwell.models import contents
from embedwell.models.contents import Contents
from embedwell.models.disk import Disk
from embedwell.models.files import full_disk
from embedwell.models.names import FileNames, stray

log = logging.getLogger("embedwell.models")

P = ParamSpec("P")
T = TypeVar("T")

Check = Callable[[Path], Awaitable[None]]
Unpack = Callable[..., None]
Commit = Callable[[Path, Contents, str | None], Awaitable[Published]]


class StagedModel:
    """Implements `interfaces.store.Staging`; `commit` is the store's last step.

    `share` says how many bytes the model may have, of the store's; it blocks. `make_room` lets
    earlier revisions go for so many bytes, or raises InsufficientStorage.
    """

    def __init__(
        self,
        disk: Disk,
        threads: Threads,
        check: Check,
        unpack: Unpack,
        commit: Commit,
        *,
        share: Callable[[], float],
        make_room: Callable[[int], Awaitable[None]],
    ) -> None:
        self._disk = disk
        self._threads = threads
        self._check = check
        self._unpack = unpack
        self._commit = commit
        self._make_room = make_room
        self._measure_share, self._share = share, inf
        self._kept = 0
        self._folder = disk.fresh()
        self._archive = self._folder / "archive"
        self._names = FileNames()
        self._busy: set[asyncio.Task[Any]] = set()
        self._sealed = False
        self._closed = False

    @property
    def path(self) -> Path:
        return self._folder / "files"

    async def begin(self) -> None:
        self._share = await self._run(self._measure_share)
        await self._run(self._disk.files.mkdir, self.path)

    async def write(self, name: str, data: bytes) -> None:
        self._check_open()
        if not stray(name):
            self._count(len(data))
            await self._append(self.path / self._names.add(name), data)

    async def keep(self, data: bytes) -> None:
        self._check_open()
        self._count(len(data))
        await self._append(self._archive, data)

    async def unpack(self, *, within: str = "", only: Callable[[str], bool] | None = None) -> None:
        self._check_open()
        if not self._archive.exists():
            raise InvalidModel("The archive is empty")
        limits = {"share": self._share, "free": self._disk.files.free}
        await self._run(self._unpack, self._archive, self.path, within=within, only=only, **limits)
        await self._run(self._disk.files.unlink, self._archive)

    async def publish(self, revision: str | None = None) -> Published:
        self._check_open()
        self._sealed = True
        names = await self._run(contents.tidy, self.path, self._disk.files)
        held = await self._run(contents.measure, self.path, names, lambda: self._closed)
        await self._check(self.path)
        await self._run(self._disk.erase, self._archive)
        await self._run(self._disk.settle, self._folder, held)
        with full_disk():
            return await self._commit(self._folder, held, revision)

    async def aclose(self) -> None:
        """Remove what was not published; never raises for the disk: the next start tries again."""
        self._closed = True
        try:
            await self._remove()
        except OSError:
            log.exception("a staging folder could not be removed")

    async def _append(self, path: Path, data: bytes) -> None:
        """What was published before goes for bytes that have come, not for announced ones."""
        if await self._run(self._disk.append, path, data):
            return
        await self._make_room(len(data))
        if not await self._run(self._disk.append, path, data):
            raise InsufficientStorage("The disk is full; free some space and retry")

    def _count(self, size: int) -> None:
        """Of a body whose length nobody said, too, no more is kept than there is room for."""
        self._kept += size
        if self._kept > self._share:
            raise InsufficientStorage("The store is full (store.max_disk_gb): delete models")

    def _check_open(self) -> None:
        if self._sealed:
            raise RuntimeError("a staged model is published once, and not changed after that")

    async def _remove(self) -> None:
        trash = await self._threads.run(self._out_of_sight)
        if self._busy:  # whatever still writes finds no folder, and ends
            await asyncio.wait(self._busy)
        for path in (trash, self._folder):
            await self._threads.run(self._disk.erase, path)

    def _out_of_sight(self) -> Path:
        try:
            return self._disk.discard(self._folder)
        except OSError:  # it was published, or never made
            return self._folder

    async def _run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """A call goes on when its caller is cancelled; `aclose` waits for it."""
        calling: Coroutine[Any, Any, T] = self._threads.run(function, *args, **kwargs)
        call = asyncio.get_running_loop().create_task(calling)
        self._busy.add(call)
        call.add_done_callback(self._ended)
        with full_disk():
            return await asyncio.shield(call)

    def _ended(self, call: "asyncio.Task[Any]") -> None:
        self._busy.discard(call)
        if not call.cancelled():
            call.exception()  # seen, even where nobody waits any more
