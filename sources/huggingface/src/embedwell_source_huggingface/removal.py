"""Models of the Hub that leave the disk: the names now, the files once nobody holds them."""

import asyncio
import logging
from collections.abc import Sequence

from embedwell import BaseServices, ModelNotFound, ModelRef, ReadOnly, Snapshot
from embedwell_source_huggingface.cache import LocalCache

log = logging.getLogger("embedwell.source.huggingface")


class Removal:
    """Removes what lies in the source's own cache folder; loop only."""

    def __init__(self, cache: LocalCache, services: BaseServices) -> None:
        self._cache = cache
        self._services = services
        self._files = asyncio.Lock()  # a download may not meet the removal of the same commit
        self._erasing: set[asyncio.Task[None]] = set()

    async def delete(self, ref: ModelRef) -> None:
        """All revisions, or the one commit; raises ModelNotFound, ReadOnly."""
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
            raise ReadOnly(f"{ref} lies in a cache that this server only reads")
        await self.remove(ours)

    async def remove(self, snapshots: Sequence[Snapshot]) -> None:
        """From now on they are not found; their files go in the background."""
        for snapshot in snapshots:
            await self._services.threads.run(self._cache.forget, snapshot)
        self._services.changed([snapshot.key for snapshot in snapshots])
        for snapshot in snapshots:
            task = asyncio.get_running_loop().create_task(self._erase(snapshot))
            self._erasing.add(task)
            task.add_done_callback(self._erasing.discard)

    async def revive(self, repo: str, commit: str) -> None:
        """The commit is wanted again: whatever is left of its files stays."""
        async with self._files:
            await self._services.threads.run(self._cache.revive, repo, commit)

    async def settled(self) -> None:
        """Returns when the removals under way are done."""
        await asyncio.gather(*self._erasing, return_exceptions=True)

    async def aclose(self) -> None:
        """What is not gone yet goes at the next start."""
        tasks = [*self._erasing]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _erase(self, snapshot: Snapshot) -> None:
        await self._services.store.released(snapshot)
        async with self._files:
            try:
                await self._services.threads.run(self._cache.erase, snapshot)
            except OSError as error:
                log.warning("files of %s stay on the disk: %s", snapshot.key, error.strerror)
