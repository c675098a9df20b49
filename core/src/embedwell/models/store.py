"""The store: what is published under which name, and the one order of its changes."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from functools import partial
from math import inf
from pathlib import Path

from msgspec.structs import replace

from embedwell.config.schema import Store as Settings
from embedwell.errors import Conflict, ModelNotFound
from embedwell.interfaces.models import ModelKey, ModelRef, Snapshot
from embedwell.interfaces.services import Threads
from embedwell.interfaces.store import Published, Staging
from embedwell.models import pointers as points
from embedwell.models import room
from embedwell.models.contents import Contents
from embedwell.models.disk import Disk, Key
from embedwell.models.files import Files, full_disk
from embedwell.models.holds import Holds
from embedwell.models.names import check_publishable, check_revision, check_source
from embedwell.models.pointers import Pointer, Revision
from embedwell.models.recovery import peek, recover
from embedwell.models.removal import Removal
from embedwell.models.staged import Check, StagedModel, Unpack
from embedwell.models.uninterrupted import uninterrupted

log = logging.getLogger("embedwell.models")

BARE = (
    "it has no modules.json: its pooling is a guess, and its vectors are not of unit length; "
    "add modules.json and the folders that it names, or ask with 'normalize': true"
)


class ModelStore:
    """Implements `interfaces.store.Store` below `folder`, the data directory of one process.

    `changed` is told of revisions that are no longer current or no longer kept; of none for a
    new name. `check` raises InvalidModel for a staged folder that may not be served; `unpack`
    takes an archive apart, in a thread. `wall` is Unix seconds. `aliases` are names that nothing
    may be published under.
    """

    def __init__(
        self,
        folder: Path,
        *,
        settings: Settings,
        threads: Threads,
        changed: Callable[[Sequence[ModelKey]], None],
        holds: Holds,
        check: Check,
        unpack: Unpack,
        wall: Callable[[], float],
        files: Files | None = None,
        aliases: Collection[str] = (),
    ) -> None:
        self._disk = Disk(folder, files or Files())
        self._settings = settings
        self._aliases = frozenset(aliases)
        self._threads = threads
        self._changed = changed
        self._holds = holds
        self._check = check
        self._unpack = unpack
        self._wall = wall
        self._pointers: dict[Key, Pointer] = {}
        self._owned = True
        self._publishing: set[Key] = set()  # names case-folded
        self._lock = asyncio.Lock()  # one change at a time
        self._removal = Removal(self._disk, threads, holds, self._lock, self._used)

    async def open(self) -> None:
        """Bring the folder in order; raises ConfigurationError where it cannot be used."""
        await self._threads.run(self.recover)

    def recover(self) -> None:
        """As `open`, blocking."""
        self._pointers = recover(self._disk)
        self._removal.stored(self._used())

    async def peek(self) -> None:
        """Read the folder and change nothing, beside the server that may own it."""
        self._owned = False
        self._pointers = await self._threads.run(peek, self._disk)

    async def aclose(self) -> None:
        """Stop removing files; the next start goes on."""
        await self._removal.aclose()

    @asynccontextmanager
    async def stage(self, source: str, name: str) -> AsyncIterator[Staging]:
        check_source(source)
        check_publishable(name)
        self._check_free(source, name)
        folded = (source, name.casefold())
        commit = partial(self._commit, (source, name))
        self._publishing.add(folded)
        staged = StagedModel(
            self._disk,
            self._threads,
            self._check,
            self._unpack,
            commit,
            share=self._share,
            make_room=self.make_room,
        )
        try:
            await staged.begin()
            yield staged
        finally:
            try:
                await uninterrupted(staged.aclose())
            finally:
                self._publishing.discard(folded)

    async def find(self, source: str, ref: ModelRef) -> Snapshot | None:
        key = (source, ref.name)
        pointer = self._pointers.get(key)
        kept = pointer.of(ref.revision) if pointer else None
        return self._snapshot(key, kept) if kept else None

    async def models(self, source: str) -> Sequence[Snapshot]:
        return [
            self._snapshot(key, kept)
            for key, pointer in sorted(self._pointers.items())
            for kept in pointer.revisions
            if key[0] == source
        ]

    async def remove(self, source: str, ref: ModelRef) -> None:
        with full_disk():
            await uninterrupted(self._remove((source, ref.name), ref))

    async def check_room(self, size: int) -> None:
        async with self._lock:
            await self._spare(size)

    async def make_room(self, size: int) -> None:
        with full_disk():
            dropped = await uninterrupted(self._make_room(size))
        await self._removal.removed(dropped)

    async def released(self, snapshot: Snapshot) -> None:
        while not self._holds.doom(snapshot.path):
            await self._holds.released(snapshot.path)

    def revive(self, path: Path) -> None:
        self._holds.revive(path)

    async def settled(self) -> None:
        """Returns when the files of all that was removed are gone, or will not go."""
        await self._removal.settled()

    async def _commit(
        self, key: Key, staged: Path, contents: Contents, revision: str | None
    ) -> Published:
        digest = contents.digest
        revision = digest if revision is None else check_revision(revision)
        new = Revision(revision, digest, contents.bytes, len(contents.files), self._wall())
        if digest not in self._used():
            await self.make_room(0)
        published = await uninterrupted(self._publish(key, staged, new))
        if "modules.json" in {file.path for file in contents.files}:
            return published
        log.warning("%s: %s", published.snapshot.key, BARE)
        return replace(published, warning=BARE)

    async def _publish(self, key: Key, staged: Path, new: Revision) -> Published:
        async with self._lock:
            before = self._pointers.get(key)
            after = points.pointing_to(key[1], new, before, self._settings.keep_revisions)
            self._removal.stored([new.digest])
            try:
                await self._threads.run(self._disk.place, staged, new.digest)
                self._holds.revive(self._disk.model(new.digest))
                await self._point(key, after)
            finally:
                self._removal.collect()
        return Published(
            snapshot=self._snapshot(key, after.current),
            bytes=new.bytes,
            files=new.files,
            replaced=before.current.revision if before else None,
        )

    async def _remove(self, key: Key, ref: ModelRef) -> None:
        async with self._lock:
            if (key[0], key[1].casefold()) in self._publishing:
                raise _busy(key[1])  # it would be back afterwards
            pointer = self._pointers.get(key)
            gone = pointer.of(ref.revision) if pointer else None
            if pointer is None or gone is None:
                raise ModelNotFound(str(ref))
            await self._drop(key, pointer.revisions if ref.revision is None else [gone])

    async def _make_room(self, size: int) -> Sequence[str]:
        """Digests of what had to go."""
        async with self._lock:
            spare = await self._spare(size)
            for key, revisions in spare.items():
                await self._drop(key, revisions)
            return [kept.digest for revisions in spare.values() for kept in revisions]

    async def _spare(self, size: int) -> dict[Key, list[Revision]]:
        """What has to go for so many bytes; raises InsufficientStorage."""
        free = await self._threads.run(self._disk.free)
        limit = self._settings.max_disk_gb
        used = await self._threads.run(self._disk.used) if limit else 0
        missing = room.missing(size, free, used, limit)
        ours = self._pointers.items() if self._owned else ()
        spare = points.spare(ours, self._removal.held(), missing)
        if spare is None:
            raise room.refusal(size, free, used, limit)
        return spare

    async def _drop(self, key: Key, revisions: Sequence[Revision]) -> None:
        try:
            await self._point(key, self._pointers[key].without(revisions))
        finally:
            self._removal.collect()

    async def _point(self, key: Key, pointer: Pointer | None) -> None:
        """Where it fails half-way, what the disk says is what counts."""
        try:
            await self._threads.run(self._disk.point, key, pointer)
        except OSError:
            self._adopt(key, await self._threads.run(self._disk.pointer, key))
            raise
        self._adopt(key, pointer)

    def _adopt(self, key: Key, pointer: Pointer | None) -> None:
        before = self._pointers.pop(key, None)
        if pointer is not None:
            self._pointers[key] = pointer
        if pointer != before:
            gone = points.superseded(before, pointer)
            self._changed([ModelKey(*key, kept.revision) for kept in gone])

    def _share(self) -> float:
        """Bytes that one more model may have, were all previous revisions dropped; blocks."""
        limit = self._settings.max_disk_gb
        if not limit:
            return inf
        old = sum(r.bytes for p in [*self._pointers.values()] for r in p.revisions[1:])
        return limit * room.GB - self._disk.used() + old

    def _used(self) -> set[str]:
        return {kept.digest for p in self._pointers.values() for kept in p.revisions}

    def _snapshot(self, key: Key, kept: Revision) -> Snapshot:
        return Snapshot(self._disk.model(kept.digest), ModelKey(*key, kept.revision), kept.digest)

    def _check_free(self, source: str, name: str) -> None:
        if name in self._aliases:
            raise Conflict(
                f"{name} is an alias in the server's configuration: choose another name",
                param="model",
            )
        folded = name.casefold()
        if (source, folded) in self._publishing:
            raise _busy(name)
        for there, other in self._pointers:
            if there == source and other != name and other.casefold() == folded:
                raise Conflict(
                    f"There is a model named {other}; a name must differ in more than case",
                    param="model",
                )


def _busy(name: str) -> Conflict:
    return Conflict(f"A model is just being published as {name}; retry later", param="model")
