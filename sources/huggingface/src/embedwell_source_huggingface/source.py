"""The source: tags with an owner, from the local caches first and the Hub second."""

import asyncio
import os
from collections.abc import Sequence
from fnmatch import fnmatchcase
from functools import partial
from typing import NamedTuple

from embedwell import (
    BaseServices,
    Fetch,
    Forbidden,
    ModelKey,
    ModelNotFound,
    ModelRef,
    Progress,
    Route,
    Snapshot,
    Source,
    SourceError,
    Task,
)
from embedwell_source_huggingface.absences import Absences
from embedwell_source_huggingface.actions import REVISION, possible, routes
from embedwell_source_huggingface.cache import COMMIT, SOURCE, LocalCache
from embedwell_source_huggingface.config import Config, access, offline, places
from embedwell_source_huggingface.downloads import Downloads
from embedwell_source_huggingface.hub import Hub, Unreachable
from embedwell_source_huggingface.removal import Removal
from embedwell_source_huggingface.usage import Usage

REMEMBERED = 10_000
OFFLINE = "; on a machine without network set offline = true in [sources.huggingface]"


class Resolved(NamedTuple):
    """The commit behind a branch, and when that was found out (seconds of the clock)."""

    commit: str
    at: float


class HubSource(Source):
    """Downloads are pinned to a commit; a branch stays at the commit it was resolved to."""

    def __init__(self, config: Config, services: BaseServices) -> None:
        super().__init__(config, services)
        self._config = config
        self._offline = offline(config, os.environ)
        where = places(config, services.folder, os.environ)
        self._hub = Hub(config, access(config, os.environ), where)
        self._cache = LocalCache((where.cache, *where.others))
        self._removal = Removal(self._cache, services)
        self._commits: dict[tuple[str, str], Resolved] = {}
        self._absences = Absences(services.clock)
        self._usage = Usage(services.clock)
        self._downloads = Downloads(
            services,
            self._hub,
            self._cache,
            self._removal,
            self._usage,
            folder=where.cache,
            max_size_gb=config.max_size_gb,
            arrived=self._arrived,
        )
        self._sweeping = asyncio.Lock()
        self._swept = False

    async def resolve(self, ref: ModelRef) -> Snapshot | Fetch | None:
        """None for a name without an owner, one that the Hub does not have or may not give.

        The Hub's no holds for a minute. Raises SourceError where the Hub cannot be asked, or
        refuses, Overloaded where too many ask.
        """
        revision = ref.revision or "main"
        if not possible(ref.name) or not REVISION.fullmatch(revision):
            return None
        await self._sweep()
        found = await self.services.threads.run(self._local, ref.name, revision)
        if found is not None:
            self._refresh(ref.name, revision)
            return self._remembered(revision, found)
        if self._forbidden(ref.name) or self._absences.known(ref.name, revision):
            return None
        try:
            offer = await self._ask(ref.name, revision)
        except Unreachable as error:
            raise SourceError(f"No local model is named {ref}. {error.message}{OFFLINE}") from None
        return self._remembered(revision, offer) if isinstance(offer, Snapshot) else offer

    async def models(self) -> Sequence[Snapshot]:
        """What is complete in the local caches."""
        await self._sweep()
        return await self.services.threads.run(self._cache.every)

    async def delete(self, ref: ModelRef) -> Sequence[str]:
        """The commits that are gone; those in the user's own cache stay.

        Raises ModelNotFound, Conflict; ReadOnly where there is nothing else. A branch or tag
        stands for the commit that it names here.
        """
        await self._sweep()
        gone = await self._removal.delete(await self._pinned(ref))
        self._commits = {k: v for k, v in self._commits.items() if k[0] != ref.name}
        return gone

    def routes(self) -> Sequence[Route]:
        """The download ahead of use."""
        return routes(self._pull)

    async def aclose(self) -> None:
        """Files of deleted models that are not gone yet go at the next start."""
        await self._removal.aclose()

    # The Hub

    async def _ask(self, repo: str, revision: str) -> Snapshot | Fetch | None:
        await self._sweep()
        listing = await self._hub.ask(repo, revision)
        if listing is None:
            self._absences.note(repo, revision)
            return None
        return await self._downloads.offer(repo, revision, listing)

    async def _pull(self, repo: str, revision: str) -> Task:
        """The download of what the Hub has behind a revision now, as a task."""
        if why := self._forbidden(repo):
            raise Forbidden(f"{repo} may not be downloaded: {why}")
        self._absences.forget(repo)
        offer = await self._ask(repo, revision)
        if offer is None:
            raise ModelNotFound(repo, " (on the Hugging Face Hub)")
        if isinstance(offer, Snapshot):
            await self._downloads.settle(offer)
        run = offer.run if isinstance(offer, Fetch) else partial(_present, offer)
        return self.services.tasks.start("download", str(offer.key), run)

    def _refresh(self, repo: str, revision: str) -> None:
        """Ask in the background whether a branch moved, once it was long enough ago."""
        every, known = self._config.refresh_seconds, self._commits.get((repo, revision))
        if not every or known is None or COMMIT.fullmatch(revision) or self._forbidden(repo):
            return
        now = self.services.clock()
        if now - known.at >= every:
            self._commits[repo, revision] = Resolved(known.commit, now)
            run = partial(self._renew, repo, revision)
            self.services.tasks.start("refresh", f"{repo}@{revision}", run)

    async def _renew(self, repo: str, revision: str, progress: Progress) -> None:
        progress(0, None)
        offer = await self._ask(repo, revision)
        if isinstance(offer, Fetch):
            task = self.services.tasks.start("download", str(offer.key), offer.run)
            await self.services.tasks.result(task.id)
        elif offer is not None:
            await self._downloads.settle(offer)

    def _forbidden(self, repo: str) -> str:
        """Why it may not be downloaded, "" where it may."""
        if self._offline:
            return "this server is offline (offline in [sources.huggingface], or HF_HUB_OFFLINE)"
        if self._config.download == "never":
            return "see download in [sources.huggingface]"
        listed = any(fnmatchcase(repo, pattern) for pattern in self._config.allow)
        if listed or self._config.download == "on_request":
            return ""
        return "see allow in [sources.huggingface]"

    # What is here

    async def _sweep(self) -> None:
        """Before anything else: what was deleted, but not erased, when the last process ended."""
        async with self._sweeping:
            if not self._swept:
                await self.services.threads.run(self._cache.sweep)
                self._swept = True

    def _local(self, repo: str, revision: str) -> Snapshot | None:
        known = self._commits.get((repo, revision))
        commit = known.commit if known else self._cache.commit(repo, revision)
        return self._cache.at(repo, commit) if commit else None

    async def _pinned(self, ref: ModelRef) -> ModelRef:
        """With the commit in place of a branch or tag; raises ModelNotFound."""
        if ref.revision is None or COMMIT.fullmatch(ref.revision):
            return ref
        if not possible(ref.name) or not REVISION.fullmatch(ref.revision):
            raise ModelNotFound(str(ref))
        found = await self.services.threads.run(self._local, ref.name, ref.revision)
        if found is None:
            raise ModelNotFound(str(ref))
        return ModelRef(ref.name, found.key.revision)

    def _remembered(self, revision: str, snapshot: Snapshot) -> Snapshot:
        key, now = snapshot.key, self.services.clock()
        if len(self._commits) >= REMEMBERED:
            self._commits.clear()
        self._usage.note(key)
        known = self._commits.get((key.name, revision))
        if known is None or known.commit != key.revision:
            self._commits[key.name, revision] = Resolved(key.revision, now)
        return snapshot

    def _arrived(self, snapshot: Snapshot, revisions: Sequence[str], fetched: bool) -> None:
        """These branches name it from now on; the commits that they named before are let go."""
        key = snapshot.key
        new = fetched and all(name != key.name for name, _ in self._commits)
        known = [self._commits.get((key.name, revision)) for revision in revisions]
        left = {known.commit for known in known if known and known.commit != key.revision}
        for revision in revisions:
            self._remembered(revision, snapshot)
        self._usage.note(key)
        if left or new:  # a new model may have been another source's until now
            gone = [ModelKey(SOURCE, key.name, commit) for commit in sorted(left)]
            self.services.changed(gone)


async def _present(snapshot: Snapshot, progress: Progress) -> Snapshot:
    """A download that has nothing to do."""
    progress(0, 0)
    return snapshot
