"""Models of the Hub that leave the disk: the names now, the files once nobody needs them."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from functools import partial
from pathlib import Path

from embedwell import BaseServices, Conflict, ModelNotFound, ModelRef, ReadOnly, Snapshot
from embedwell_source_huggingface.busy import Busy
from embedwell_source_huggingface.cache import LocalCache

log = logging.getLogger("embedwell.source.huggingface")


class Removal:
    """Removes what lies in the source's own cache folder; loop only."""

    def __init__(self, cache: LocalCache, services: BaseServices) -> None:
        self._cache = cache
        self._services = services
        self._files = asyncio.Lock()  # a download may not meet the removal of the same commit
        self._erasing: dict[Path, asyncio.Task[None]] = {}
        self._downloading = Busy()
        self._writing = Busy()

    def downloading(self, repo: str) -> AbstractContextManager[None]:
        """Until the block ends, nobody may delete this model: it would be back afterwards."""
        return self._downloading.at(repo)

    @asynccontextmanager
    async def writing(self, repo: str, commit: str) -> AsyncIterator[None]:
        """The commit is wanted again; until the block ends, its repository loses no file."""
        with self._writing.at(repo):
            async with self._files:
                await self._keep(self._cache.place(repo, commit))
                await self._services.threads.run(self._cache.revive, repo, commit)
            yield

    def written(self, repo: str) -> bool:
        """Whether a download writes there now."""
        return repo in self._writing

    async def delete(self, ref: ModelRef) -> Sequence[str]:
        """All commits, or the one, and returns which; raises ModelNotFound, ReadOnly, Conflict."""
        if ref.name in self._downloading:
            raise Conflict(f"{ref.name} is being downloaded; cancel the task first", param="model")
        every = await self._services.threads.run(self._cache.every)
        found = [
            snapshot
            for snapshot in every
            if snapshot.key.name == ref.name and ref.revision in (None, snapshot.key.revision)
        ]
        if not found:
            raise ModelNotFound(str(ref))
        ours = [snapshot for snapshot in found if self._cache.owns(snapshot)]
        if not ours:
            raise ReadOnly(
                f"{ref} lies in a cache that this server only reads: remove it with huggingface_hub"
            )
        await self.remove(ours)
        return [snapshot.key.revision for snapshot in ours]

    async def remove(self, snapshots: Sequence[Snapshot]) -> None:
        """From now on they are not found; their files go in the background."""
        begun = []
        try:
            for snapshot in snapshots:
                begun.append(snapshot)  # one that fails may be forgotten all the same
                await self._services.threads.run(self._cache.forget, snapshot)
        finally:
            self._services.changed([snapshot.key for snapshot in begun])
            for snapshot in begun:
                self._begin(snapshot)

    async def settled(self) -> None:
        """Returns when the removals under way are done."""
        await asyncio.gather(*self._erasing.values(), return_exceptions=True)

    async def aclose(self) -> None:
        """What is just being erased goes, the rest at the next start."""
        async with self._files:
            tasks = [*self._erasing.values()]
            for task in tasks:
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(self, snapshot: Snapshot) -> None:
        if snapshot.path not in self._erasing:
            task = asyncio.get_running_loop().create_task(self._erase(snapshot))
            self._erasing[snapshot.path] = task
            task.add_done_callback(partial(self._ended, snapshot))

    def _ended(self, snapshot: Snapshot, task: "asyncio.Task[None]") -> None:
        del self._erasing[snapshot.path]
        if not task.cancelled() and task.exception() is not None:
            log.error("files of %s stay on the disk", snapshot.key, exc_info=task.exception())

    async def _keep(self, folder: Path) -> None:
        """With the lock held no file goes, so that a removal has not begun or is over."""
        task = self._erasing.get(folder)
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        self._services.store.revive(folder)

    async def _erase(self, snapshot: Snapshot) -> None:
        await self._services.store.released(snapshot)
        while not await self._erase_at_rest(snapshot):
            await self._writing.idle(snapshot.key.name)

    async def _erase_at_rest(self, snapshot: Snapshot) -> bool:
        """False, and nothing done, while a download writes to the repository."""
        async with self._files:
            if self.written(snapshot.key.name):
                return False
            if not await self._services.threads.run(self._cache.erase, snapshot):
                self._services.store.revive(snapshot.path)
            return True
