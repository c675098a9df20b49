"""The source: tags with an owner, from the local caches first and the Hub second."""

import os
import re
import shutil
from collections.abc import Sequence
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path

from embedwell import (
    BaseServices,
    Fetch,
    InvalidModel,
    ModelKey,
    ModelRef,
    Progress,
    Snapshot,
    Source,
    SourceError,
)
from embedwell_source_huggingface.cache import COMMIT, SOURCE, LocalCache
from embedwell_source_huggingface.config import Config, access, offline, places
from embedwell_source_huggingface.files import Plan, choose
from embedwell_source_huggingface.hub import Hub
from embedwell_source_huggingface.messages import Listing

SPARE = 100_000_000  # bytes that a download leaves free on the disk
REMEMBERED = 10_000
_REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(?:/[A-Za-z0-9_][A-Za-z0-9._-]*)*")


class HubSource(Source):
    """Downloads are pinned to a commit; a branch stays at the commit it was resolved to."""

    def __init__(self, config: Config, services: BaseServices) -> None:
        super().__init__(config, services)
        self._config = config
        self._places = places(config, services.folder, os.environ)
        self._offline = offline(config, os.environ)
        self._hub = Hub(config, access(config, os.environ), self._places)
        self._cache = LocalCache((self._places.cache, *self._places.others))
        self._commits: dict[tuple[str, str], str] = {}

    async def resolve(self, ref: ModelRef) -> Snapshot | Fetch | None:
        """None for a name without an owner, one that the Hub does not have or may not give."""
        revision = ref.revision or "main"
        if not _possible(ref.name) or not _REVISION.fullmatch(revision):
            return None
        found = await self.services.threads.run(self._local, ref.name, revision)
        if found is not None:
            return self._remembered(revision, found)
        if not self._may_download(ref.name):
            return None
        listing = await self._hub.ask(ref.name, revision)
        return None if listing is None else await self._offer(ref.name, revision, listing)

    async def models(self) -> Sequence[Snapshot]:
        """What is complete in the local caches."""
        return await self.services.threads.run(self._cache.every)

    def _local(self, repo: str, revision: str) -> Snapshot | None:
        commit = self._commits.get((repo, revision)) or self._cache.commit(repo, revision)
        return self._cache.at(repo, commit) if commit else None

    def _remembered(self, revision: str, snapshot: Snapshot) -> Snapshot:
        if len(self._commits) >= REMEMBERED:
            self._commits.clear()
        self._commits[snapshot.key.name, revision] = snapshot.key.revision
        return snapshot

    def _may_download(self, repo: str) -> bool:
        if self._offline or self._config.download == "never":
            return False
        listed = any(fnmatchcase(repo, pattern) for pattern in self._config.allow)
        return listed or self._config.download == "on_request"

    async def _offer(self, repo: str, revision: str, listing: Listing) -> Snapshot | Fetch:
        if not COMMIT.fullmatch(listing.commit):
            raise SourceError(f"The Hugging Face Hub named no commit for {repo}")
        files = choose((name for name, _ in listing.files), repo)
        size = sum(length for name, length in listing.files if name in files)
        self._check_size(repo, size)
        present = await self.services.threads.run(self._cache.at, repo, listing.commit)
        if present is not None:
            return self._remembered(revision, present)
        plan = Plan(repo, revision, listing.commit, files, size)
        return Fetch(ModelKey(SOURCE, repo, listing.commit), partial(self._fetch, plan), size)

    def _check_size(self, repo: str, size: int) -> None:
        most = self._config.max_size_gb
        if size > most * 1e9:
            raise InvalidModel(
                f"{repo} has {size / 1e9:.1f} GB; downloads are limited to "
                f"{most:g} GB (max_size_gb in [sources.huggingface])"
            )

    async def _fetch(self, plan: Plan, progress: Progress) -> Snapshot:
        free = await self.services.threads.run(_free, self._places.cache)
        if free < plan.size + SPARE:
            sizes = f"{plan.size / 1e9:.1f} GB, {free / 1e9:.1f} GB are free"
            raise SourceError(f"The disk has no room for {plan.repo}: {sizes}")
        await self._hub.get(plan, progress)
        found = await self.services.threads.run(self._cache.at, plan.repo, plan.commit)
        if found is None:
            raise SourceError(f"The download of {plan.repo} is incomplete: ask again")
        return self._remembered(plan.revision, found)


def _possible(repo: str) -> bool:
    """Whether the Hub can have it: an owner, and none of what its names cannot contain."""
    return repo.count("/") == 1 and "--" not in repo and ".." not in repo


def _free(folder: Path) -> int:
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(there).free
