"""A download, from the Hub's listing to a snapshot: is it allowed, does it fit, bring it."""

import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from embedwell import (
    BaseServices,
    Fetch,
    InsufficientStorage,
    InvalidModel,
    ModelKey,
    Progress,
    Snapshot,
    SourceError,
)
from embedwell_source_huggingface.cache import COMMIT, SOURCE, LocalCache
from embedwell_source_huggingface.files import Plan, choose
from embedwell_source_huggingface.hub import Hub
from embedwell_source_huggingface.messages import Listing
from embedwell_source_huggingface.removal import Removal

SPARE = 100_000_000  # bytes that a download leaves free on the disk
UNUSED_SECONDS = 3_600  # after which a download may go for another


class Downloads:
    """Brings models to the cache folder; `used` says when each was last asked for."""

    def __init__(
        self,
        services: BaseServices,
        hub: Hub,
        cache: LocalCache,
        removal: Removal,
        *,
        folder: Path,
        max_size_gb: float,
        used: Mapping[ModelKey, float],
    ) -> None:
        self._services = services
        self._hub = hub
        self._cache = cache
        self._removal = removal
        self._folder = folder
        self._max_size_gb = max_size_gb
        self._used = used

    async def offer(
        self, repo: str, revision: str, listing: Listing, arrived: Callable[[str, Snapshot], None]
    ) -> Snapshot | Fetch:
        """What is behind a listing: here already, or to be fetched; `arrived` hears of it then.

        Raises InvalidModel for what cannot be served or is too large.
        """
        if not COMMIT.fullmatch(listing.commit):
            raise SourceError(f"The Hugging Face Hub named no commit for {repo}")
        files = choose((name for name, _ in listing.files), repo)
        size = sum(length for name, length in listing.files if name in files)
        self._check_size(repo, size)
        present = await self._services.threads.run(self._cache.at, repo, listing.commit)
        if present is not None:
            return present
        plan = Plan(repo, revision, listing.commit, files, size)
        run = partial(self._fetch, plan, arrived)
        return Fetch(ModelKey(SOURCE, repo, listing.commit), run, size)

    def _check_size(self, repo: str, size: int) -> None:
        most = self._max_size_gb
        if size > most * 1e9:
            raise InvalidModel(
                f"{repo} has {size / 1e9:.1f} GB; downloads are limited to "
                f"{most:g} GB (max_size_gb in [sources.huggingface])"
            )

    async def _fetch(
        self, plan: Plan, arrived: Callable[[str, Snapshot], None], progress: Progress
    ) -> Snapshot:
        await self._make_room(plan)
        await self._removal.revive(plan.repo, plan.commit)
        await self._hub.get(plan, progress)
        found = await self._services.threads.run(self._cache.at, plan.repo, plan.commit)
        if found is None:
            raise SourceError(f"The download of {plan.repo} is incomplete: ask again")
        arrived(plan.revision, found)
        return found

    async def _make_room(self, plan: Plan) -> None:
        """Downloads that were not used for long go first; raises InsufficientStorage."""
        free = await self._services.threads.run(_free, self._folder)
        if free < plan.size + SPARE:
            sizes = f"{plan.size / 1e9:.1f} GB, {free / 1e9:.1f} GB are free"
            raise InsufficientStorage(f"The disk has no room for {plan.repo}: {sizes}")
        if self._folder.is_relative_to(self._services.folder):  # it is a part of the store's share
            await self._make_room_in_store(plan.size)

    async def _make_room_in_store(self, size: int) -> None:
        unused = await self._unused()
        while True:
            try:
                await self._services.store.make_room(size)
            except InsufficientStorage:
                if not unused:
                    raise
                await self._removal.remove([unused.pop(0)])
                await self._removal.settled()
            else:
                return

    async def _unused(self) -> list[Snapshot]:
        """Own downloads that nobody used of late, the longest unused first."""
        every = await self._services.threads.run(self._cache.every)
        late = self._services.clock() - UNUSED_SECONDS
        idle = [s for s in every if self._cache.owns(s) and self._used.get(s.key, late - 1) < late]
        return sorted(idle, key=lambda snapshot: self._used.get(snapshot.key, 0.0))


def _free(folder: Path) -> int:
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(there).free
