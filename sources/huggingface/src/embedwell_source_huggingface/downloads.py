"""A download, from the Hub's listing to a snapshot: is it allowed, does it fit, bring it."""

import logging
import shutil
from collections.abc import Callable, Sequence
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
from embedwell_source_huggingface.coming import Coming
from embedwell_source_huggingface.files import Plan, choose
from embedwell_source_huggingface.heads import Heads
from embedwell_source_huggingface.hub import Hub
from embedwell_source_huggingface.messages import Listing
from embedwell_source_huggingface.removal import Removal
from embedwell_source_huggingface.usage import Usage

log = logging.getLogger("embedwell.source.huggingface")

SPARE = 100_000_000  # bytes that a download leaves free on the disk
UNUSED_SECONDS = 3_600  # after which a download may go for another


class Downloads:
    """Brings models to the cache folder.

    `arrived` hears of snapshots with the branches and tags that name them from now on, and
    whether they were downloaded just now.
    """

    def __init__(
        self,
        services: BaseServices,
        hub: Hub,
        cache: LocalCache,
        removal: Removal,
        usage: Usage,
        *,
        folder: Path,
        max_size_gb: float,
        arrived: Callable[[Snapshot, Sequence[str], bool], None],
    ) -> None:
        self._services = services
        self._hub = hub
        self._cache = cache
        self._removal = removal
        self._usage = usage
        self._folder = folder
        self._max_size_gb = max_size_gb
        self._arrived = arrived
        self._heads = Heads()
        self._coming = Coming()

    async def offer(self, repo: str, revision: str, listing: Listing) -> Snapshot | Fetch:
        """What is behind a listing: here already, or to be fetched.

        Raises InvalidModel for what cannot be served or is too large.
        """
        if not COMMIT.fullmatch(listing.commit):
            raise SourceError(f"The Hugging Face Hub named no commit for {repo}")
        files = choose((name for name, _ in listing.files), repo)
        size = sum(length for name, length in listing.files if name in files)
        self._check_size(repo, size)
        self._heads.note(repo, revision, listing.commit)  # first: a download may be ending now
        present = await self._services.threads.run(self._cache.at, repo, listing.commit)
        if present is not None:
            return present
        run = partial(self._fetch, Plan(repo, listing.commit, files, size))
        return Fetch(ModelKey(SOURCE, repo, listing.commit), run, size)

    async def settle(self, snapshot: Snapshot, *, fetched: bool = False) -> None:
        """Write down which branches and tags name it by now."""
        key = snapshot.key
        settled: list[str] = []
        while names := self._heads.take(key.name, key.revision):
            settled += names
            if self._cache.owns(snapshot):
                await self._services.threads.run(self._name, key, names)
        self._arrived(snapshot, settled, fetched)

    def _name(self, key: ModelKey, revisions: Sequence[str]) -> None:
        for revision in revisions:
            try:
                self._cache.name(key.name, revision, key.revision)
            except OSError as error:  # the Hub will be asked again after the next start
                log.warning("%s is not noted as %s: %s", key, revision, error.strerror)

    def _check_size(self, repo: str, size: int) -> None:
        most = self._max_size_gb
        if size > most * 1e9:
            raise InvalidModel(
                f"{repo} has {size / 1e9:.1f} GB; downloads are limited to "
                f"{most:g} GB (max_size_gb in [sources.huggingface])"
            )

    async def _fetch(self, plan: Plan, progress: Progress) -> Snapshot:
        with self._removal.downloading(plan.repo):
            async with self._hub.turn():
                return await self._fetch_now(plan, progress)

    async def _fetch_now(self, plan: Plan, progress: Progress) -> Snapshot:
        others = self._coming.bytes  # those who begin from here on count this one
        with self._coming.of(plan.size, progress) as moved:
            await self._make_room(plan, others)
            async with self._removal.writing(plan.repo, plan.commit):
                await self._hub.get(plan, moved)
                found = await self._services.threads.run(self._cache.at, plan.repo, plan.commit)
                if found is None:
                    raise SourceError(f"The download of {plan.repo} is incomplete: ask again")
                await self.settle(found, fetched=True)
        return found

    async def _make_room(self, plan: Plan, others: int) -> None:
        """Beside what others still bring, in bytes; raises InsufficientStorage.

        In the data directory the store keeps what is to be free.
        """
        if self._folder.is_relative_to(self._services.folder):
            await self._make_room_in_store(plan.size + others)
            return
        free = await self._services.threads.run(_free, self._folder) - others
        if free < plan.size + SPARE:
            sizes = f"{plan.size / 1e9:.1f} GB, {max(free, 0) / 1e9:.1f} GB are free"
            raise InsufficientStorage(f"The disk has no room for {plan.repo}: {sizes}")

    async def _make_room_in_store(self, size: int) -> None:
        """Earlier revisions go first, then downloads that were not used for long."""
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
        idle = [s for s in every if self._cache.owns(s) and self._usage.last(s.key) < late]
        idle = [s for s in idle if not self._removal.written(s.key.name)]
        return sorted(idle, key=lambda snapshot: self._usage.last(snapshot.key))


def _free(folder: Path) -> int:
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(there).free
