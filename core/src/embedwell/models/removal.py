"""Removes the folders of models that no name points to, once nobody reads from them."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Set
from functools import partial

from embedwell.interfaces.services import Threads
from embedwell.models.disk import Disk
from embedwell.models.holds import Holds
from embedwell.models.uninterrupted import uninterrupted

log = logging.getLogger("embedwell.models")


class Removal:
    """Owns one task for each folder that is to go; `used` are the digests that names point to.

    `lock` is the one under which names change.
    """

    def __init__(
        self,
        disk: Disk,
        threads: Threads,
        holds: Holds,
        lock: asyncio.Lock,
        used: Callable[[], Set[str]],
    ) -> None:
        self._disk = disk
        self._threads = threads
        self._holds = holds
        self._lock = lock
        self._used = used
        self._stored: set[str] = set()  # digests that may have a folder
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._closing = False

    def stored(self, digests: Iterable[str]) -> None:
        """These have a folder, or will have."""
        self._stored.update(digests)

    def held(self) -> frozenset[str]:
        """Digests of the folders that somebody reads from."""
        return frozenset(d for d in self._stored if self._holds.held(self._disk.model(d)))

    def collect(self) -> None:
        """Start to remove what is not used."""
        if self._closing:
            return
        for digest in self._stored - self._used() - self._tasks.keys():
            task = asyncio.get_running_loop().create_task(self._remove(digest))
            self._tasks[digest] = task
            task.add_done_callback(partial(self._ended, digest))

    async def removed(self, digests: Iterable[str]) -> None:
        """Returns when the folders among these that are going have gone."""
        going = [self._tasks[digest] for digest in digests if digest in self._tasks]
        if going:
            await asyncio.wait(going)

    async def settled(self) -> None:
        """Returns when no folder is going any more."""
        while self._tasks:
            await asyncio.wait([*self._tasks.values()])

    async def aclose(self) -> None:
        """Give up what waits for its last user: the next start removes it."""
        self._closing = True
        tasks = [*self._tasks.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _remove(self, digest: str) -> None:
        while digest in self._stored and digest not in self._used():
            await self._holds.released(self._disk.model(digest))
            await uninterrupted(self._remove_unheld(digest))

    async def _remove_unheld(self, digest: str) -> None:
        folder = self._disk.model(digest)
        async with self._lock:
            if digest in self._used() or not self._holds.doom(folder):
                return
            self._stored.discard(digest)
            trash = await self._threads.run(self._disk.discard, folder.parent)
        await self._threads.run(self._disk.erase, trash)

    def _ended(self, digest: str, task: "asyncio.Task[None]") -> None:
        del self._tasks[digest]
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            log.error("files of a removed model stay until the next start", exc_info=error)
        self.collect()  # what was published and removed again meanwhile
