"""The source: finished training runs, served where they lie."""

import asyncio
import hashlib
import re
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

from embedwell import (
    BaseServices,
    EmbedwellError,
    Fetch,
    Loading,
    ModelKey,
    ModelNotFound,
    ModelRef,
    Progress,
    ReadOnly,
    Snapshot,
    Source,
)
from embedwell_source_training.content import Content
from embedwell_source_training.digests import Digests
from embedwell_source_training.runs import Look, Runs
from embedwell_source_training.settled import Settled
from embedwell_source_training.whole import Unfinished

SOURCE = "training"
FRESH_FOR = 1.0  # seconds in which a new run, or the end of one, goes unnoticed
INLINE = 200_000_000  # bytes that are hashed while a request waits; more is a task
PATIENCE = 2.0  # seconds that a listing waits for such tasks
READERS = 2  # large models that are hashed at the same time
TRACKED = 10_000
_DIGEST = re.compile(r"[0-9a-f]{64}")


class Config(Struct, frozen=True, forbid_unknown_fields=True):
    """`[sources.training]`; an empty `directory` is the source's own below the data directory.

    A model counts as written once its files did not change for `settle_seconds`.
    """

    directory: Annotated[str, Meta(max_length=4_096, pattern=r"^[^\x00]*$")] = ""
    settle_seconds: Annotated[float, Meta(ge=0, le=3_600)] = 2


class TrainingSource(Source):
    """Read-only; a revision is the digest of the model's own files."""

    def __init__(
        self, config: Config, services: BaseServices, wall: Callable[[], float] = time.time
    ) -> None:
        super().__init__(config, services)
        root = Path(config.directory) if config.directory else services.folder
        self._pause = config.settle_seconds
        settled = Settled(config.settle_seconds, wall, services.clock)
        self._runs = Runs(root.absolute(), settled, wall)
        self._readers = asyncio.Semaphore(READERS)
        self._digests = Digests()
        self._served: dict[tuple[str, str | None], ModelKey] = {}

    async def resolve(self, ref: ModelRef) -> Snapshot | Fetch | None:
        """Raises Loading for a run that was served and is being written again, SourceError."""
        look = await self.services.threads.run(self._look, ref.name, ref.revision)
        if look.contents:
            return await self._open(ref, look.contents[0])
        if look.busy and (ref.name, ref.revision) in self._served:
            raise _being_written(ref.name, self._pause)
        self._track(ref, None)
        return None

    async def models(self) -> Sequence[Snapshot]:
        """One of each run; large ones that were never read appear once that is done."""
        rows = await self.services.threads.run(self._survey)
        found = [self._snapshot(ModelRef(tag), content) for tag, content in rows]
        listed = [snapshot for snapshot in found if snapshot is not None]
        unread = [row for row, snapshot in zip(rows, found, strict=True) if snapshot is None]
        listed += await self._patiently(unread)
        await self._notice({tag for tag, _ in rows})
        return listed

    async def delete(self, ref: ModelRef) -> None:
        """Raises ReadOnly."""
        raise ReadOnly(
            f"Models of this source are read-only: {ref}; remove its run's folder "
            "(directory in [sources.training])"
        )

    def _look(self, tag: str, revision: str | None) -> Look:
        if revision is None or not _DIGEST.fullmatch(revision):
            return self._runs.look(tag, revision)
        look = self._runs.look(tag, every=True)
        known = [c for c in look.contents if self._digests.of(c) in (revision, None)]
        same = [c for c in known if self._digests.of(c) is not None]
        unread = [c for c in known[:1] if c is look.contents[0]]  # what is served is worth reading
        return Look((*same, *unread), look.busy)

    async def _open(self, ref: ModelRef, content: Content) -> Snapshot | Fetch | None:
        unread = sum(file.signature.size for file in self._digests.unread(content))
        if unread > INLINE:
            return Fetch(_unread_key(ref, content), partial(self._fetch, ref, content), unread)
        try:
            await self.services.threads.run(self._read, content)
        except Unfinished:
            raise _being_written(ref.name, self._pause) from None
        return self._snapshot(ref, content)

    async def _fetch(self, ref: ModelRef, content: Content, progress: Progress) -> Snapshot:
        """Hash a large model; nothing is copied."""
        async with self._readers:
            files = self._digests.unread(content)
            done, total = 0, sum(file.signature.size for file in files)
            progress(done, total)
            for file in files:
                try:
                    await self.services.threads.run(self._digests.read, content, file)
                except Unfinished:
                    raise _being_written(ref.name, self._pause) from None
                done += file.signature.size
                progress(done, total)
        snapshot = self._snapshot(ref, content)
        if snapshot is None:
            raise ModelNotFound(str(ref))
        return snapshot

    def _read(self, content: Content) -> None:
        for file in self._digests.unread(content):
            self._digests.read(content, file)

    def _snapshot(self, ref: ModelRef, content: Content) -> Snapshot | None:
        """None where not all of it is read yet, or it has another digest than was asked for."""
        digest = self._digests.of(content)
        if digest is None or (_DIGEST.fullmatch(ref.revision or "") and digest != ref.revision):
            return None
        key = ModelKey(SOURCE, ref.name, digest)
        self._track(ref, key)
        return Snapshot(content.folder, key, digest, FRESH_FOR)

    def _survey(self) -> list[tuple[str, Content]]:
        """All runs; small models are read at once, as far as that is quick in all."""
        rows, left = list(self._runs.every()), INLINE
        for _, content in rows:
            size = sum(file.signature.size for file in self._digests.unread(content))
            if size > left:
                continue
            left -= size
            with suppress(Unfinished, OSError):
                self._read(content)
        return rows

    async def _patiently(self, rows: Sequence[tuple[str, Content]]) -> list[Snapshot]:
        ids = []
        for tag, content in rows:
            ref = ModelRef(tag)
            run = partial(self._fetch, ref, content)
            ids.append(self.services.tasks.start("reading", str(_unread_key(ref, content)), run).id)
        found: list[Snapshot] = []
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                for task in ids:
                    with suppress(EmbedwellError):
                        found.append(await self.services.tasks.result(task))
        return found

    async def _notice(self, listed: set[str]) -> None:
        """See what became of models that were served and are not in the listing."""
        for tag, revision in [*self._served]:
            if revision is None and tag in listed:
                continue
            look = await self.services.threads.run(self._look, tag, revision)
            ref = ModelRef(tag, revision)
            if look.contents:
                self._snapshot(ref, look.contents[0])
            elif not look.busy:
                self._track(ref, None)

    def _track(self, ref: ModelRef, key: ModelKey | None) -> None:
        """Tell the server of a key that nothing is served by any more; loop only."""
        before = self._served.pop((ref.name, ref.revision), None)
        if key is not None:
            if len(self._served) >= TRACKED:
                self._served.clear()
            self._served[ref.name, ref.revision] = key
        if before is not None and before not in self._served.values():
            self.services.changed([before])


def _unread_key(ref: ModelRef, content: Content) -> ModelKey:
    """A name for the work of reading these very files."""
    seen = "\n".join(f"{file.name} {file.signature}" for file in content.files)
    return ModelKey(SOURCE, ref.name, hashlib.sha256(seen.encode()).hexdigest())


def _being_written(tag: str, pause: float) -> Loading:
    return Loading(f"Model is being written by its training: {tag}", retry_after=max(1.0, pause))
