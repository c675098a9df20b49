"""From a tag to a snapshot: asks the sources in order, remembers, fetches once."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager, nullcontext
from typing import NamedTuple

from embedwell.config.schema import Sources
from embedwell.errors import (
    Draining,
    EmbedwellError,
    Loading,
    ModelNotFound,
    ReadOnly,
    SourceError,
    TaskNotFound,
)
from embedwell.interfaces.models import ModelKey, ModelRef, Snapshot, Source
from embedwell.interfaces.services import Listed
from embedwell.interfaces.tasks import Tasks
from embedwell.models.asking import Answer, ask, listing
from embedwell.models.holds import Gone

log = logging.getLogger("embedwell.models")

REMEMBERED = 4_096
RETRY_AFTER = 10.0
ATTEMPTS = 3  # to hold a snapshot that is deleted just when it was found

Hold = Callable[[Snapshot], AbstractContextManager[None]]


class _Kept(NamedTuple):
    snapshot: Snapshot
    until: float


class _Row(NamedTuple):
    source: str
    snapshot: Snapshot

    def fits(self, ref: ModelRef) -> bool:
        key = self.snapshot.key
        served = ref.source in (None, self.source) and ref.revision in (None, key.revision)
        return served and key.name == ref.name


class SourceRegistry:
    """Implements `interfaces.services.Registry`; `sources` come in the order of the chain.

    `hold` keeps a snapshot's files while a request uses them; `listed` hears of every tag that
    was listed, `found` of every model that a source has now.
    """

    def __init__(
        self,
        sources: Sequence[tuple[str, Source]],
        tasks: Tasks,
        settings: Sources,
        clock: Callable[[], float],
        *,
        aliases: Mapping[str, ModelRef] | None = None,
        hold: Hold = lambda snapshot: nullcontext(),
        listed: Callable[[Sequence[str]], None] = lambda names: None,
        found: Callable[[ModelKey], None] = lambda key: None,
    ) -> None:
        self._sources = tuple(sources)
        self._tasks = tasks
        self._settings = settings
        self._clock = clock
        self._aliases = dict(aliases or {})
        self._hold = hold
        self._on_listed = listed
        self._on_found = found
        self._kept: dict[ModelRef, _Kept] = {}
        self._asking: dict[ModelRef, asyncio.Task[Answer]] = {}
        self._alive: set[asyncio.Task[Answer]] = set()
        self._fetching: dict[ModelRef, tuple[str, str]] = {}  # the source, the task's id

    def canonical(self, ref: ModelRef) -> ModelRef:
        """What an alias stands for; anything else is itself."""
        target = self._aliases.get(ref.name) if ref.source is None else None
        if target is None:
            return ref
        return ModelRef(target.name, ref.revision or target.revision, target.source)

    @asynccontextmanager
    async def open(self, ref: ModelRef) -> AsyncIterator[Snapshot]:
        """Raises ModelNotFound, SourceError, Loading, or what a source raised of its own."""
        with ExitStack() as holding:
            yield await self._held(self.canonical(ref), holding)

    async def find(self, ref: ModelRef) -> None:
        """Asks the sources, and fetches nothing; raises ModelNotFound, SourceError."""
        ref = self.canonical(ref)
        if self._fresh(ref) is None and self._under_way(ref) is None:
            await self._asked(ref)

    async def models(self) -> Sequence[Listed]:
        rows: dict[str, list[_Row]] = {}
        async for row in self._local(self._sources):
            rows.setdefault(row.snapshot.key.name, []).append(row)
        self._on_listed(tuple(rows))
        found = {name: _listed(same) for name, same in rows.items()}
        for alias in self._aliases:
            target = self.canonical(ModelRef(alias))
            fitting = [row for row in rows.get(target.name, ()) if row.fits(target)]
            if fitting:
                found[alias] = _listed(fitting, alias)
        return [*found.values()]

    async def describe(self, ref: ModelRef) -> Listed:
        alias = ref.name if self.canonical(ref) != ref else None
        ref, asked = self.canonical(ref), ref
        fitting = [row async for row in self._local(self._chain(ref)) if row.fits(ref)]
        if fitting:
            return _listed(fitting, alias)
        kept = self._fresh(ref)  # by a branch, say, which no listing knows
        if kept is None:
            raise ModelNotFound(str(asked))
        return Listed(kept, alias=alias)

    async def delete(self, ref: ModelRef) -> ModelKey:
        """Delete in the source that serves the tag; raises ModelNotFound, ReadOnly.

        Returns the key that is served no more.
        """
        listed = await self.describe(ref)
        if listed.alias is not None:
            raise ReadOnly(f"{ref} is an alias of the server's configuration; delete its target")
        key = listed.snapshot.key
        source = dict(self._sources).get(key.source)
        if source is None:
            raise ReadOnly(f"No source of this server answers for {key}")
        await source.delete(ModelRef(key.name, ref.revision and key.revision, key.source))
        self.invalidate()
        return key

    def invalidate(self) -> None:
        """Forget every answer: a source's models changed."""
        self._kept.clear()
        self._asking.clear()  # those who wait still get theirs; it is not remembered

    async def aclose(self) -> None:
        """Stop asking, and close the sources; one that fails does not keep the others open."""
        asking = [*self._alive]
        for task in asking:
            task.cancel()
        if asking:
            await asyncio.wait(asking)
        for name, source in self._sources:
            try:
                await source.aclose()
            except Exception:
                log.exception("source %s failed to close", name)

    async def _held(self, ref: ModelRef, holding: ExitStack) -> Snapshot:
        for _ in range(ATTEMPTS):
            snapshot = await self._snapshot(ref)
            try:
                holding.enter_context(self._hold(snapshot))
            except Gone:
                self.invalidate()
            else:
                return snapshot
        raise ModelNotFound(str(ref))

    def _fresh(self, ref: ModelRef) -> Snapshot | None:
        kept = self._kept.get(ref)
        return kept.snapshot if kept is not None and self._clock() < kept.until else None

    async def _snapshot(self, ref: ModelRef) -> Snapshot:
        if (kept := self._fresh(ref)) is not None:
            return kept
        under_way = self._under_way(ref)
        if under_way is not None:
            return await self._fetched(ref, *under_way)
        name, found = await self._asked(ref)
        if isinstance(found, Snapshot):
            return found
        task = self._tasks.start("download", str(found.key), found.run)
        self._fetching[ref] = (name, task.id)
        return await self._fetched(ref, name, task.id)

    async def _asked(self, ref: ModelRef) -> Answer:
        """One asks, all who came meanwhile wait for it; whoever leaves takes nobody along."""
        task = self._asking.get(ref)
        if task is None:
            chain, settings = self._chain(ref), self._settings
            task = asyncio.get_running_loop().create_task(ask(chain, ref, settings))
            self._asking[ref] = task
            self._alive.add(task)
            task.add_done_callback(lambda done: self._answered(ref, done))
        await asyncio.wait([task])
        if task.cancelled():
            raise Draining("The server is stopping")
        return task.result()

    def _answered(self, ref: ModelRef, task: "asyncio.Task[Answer]") -> None:
        self._alive.discard(task)
        current = self._asking.get(ref) is task
        if current:
            del self._asking[ref]
        if task.cancelled() or task.exception() is not None:
            return
        _, found = task.result()
        if current and isinstance(found, Snapshot):
            self._keep(ref, found)

    async def _fetched(self, ref: ModelRef, name: str, id: str) -> Snapshot:
        limit = asyncio.timeout(self._settings.load_timeout)
        try:
            async with limit:
                found = await self._tasks.result(id)
        except TimeoutError:
            if limit.expired():
                message = f"Model is being downloaded: {ref}"
                raise Loading(message, retry_after=RETRY_AFTER) from None
            self._forget(ref, id)
            raise SourceError(f"Source {name} timed out while fetching {ref}") from None
        except Exception as error:
            self._forget(ref, id)
            raise _fetch_failed(ref, name, error) from None
        self._forget(ref, id)
        if not isinstance(found, Snapshot):
            raise SourceError(f"Source {name} fetched {ref} but gave no snapshot")
        self._keep(ref, found)
        return found

    def _under_way(self, ref: ModelRef) -> tuple[str, str] | None:
        found = self._fetching.get(ref)
        if found is None:
            return None
        try:
            if self._tasks.get(found[1]).status in ("queued", "running"):
                return found
        except TaskNotFound:
            pass
        del self._fetching[ref]  # it ended when nobody waited any more
        return None

    def _forget(self, ref: ModelRef, id: str) -> None:
        if self._fetching.get(ref, ("", ""))[1] == id:
            del self._fetching[ref]

    def _keep(self, ref: ModelRef, snapshot: Snapshot) -> None:
        if len(self._kept) >= REMEMBERED:
            self._kept.clear()
        self._kept[ref] = _Kept(snapshot, self._clock() + snapshot.fresh_for)
        self._on_found(snapshot.key)

    def _chain(self, ref: ModelRef) -> Sequence[tuple[str, Source]]:
        if ref.source is None:
            return self._sources
        chosen = [(name, source) for name, source in self._sources if name == ref.source]
        if not chosen:
            names = ", ".join(name for name, _ in self._sources) or "none"
            raise ModelNotFound(str(ref), f" (no source {ref.source[:100]}; there are: {names})")
        return chosen

    async def _local(self, chain: Sequence[tuple[str, Source]]) -> AsyncIterator[_Row]:
        for name, source in chain:
            for snapshot in await listing(name, source, self._settings.resolve_timeout):
                yield _Row(name, snapshot)


def _listed(rows: Sequence[_Row], alias: str | None = None) -> Listed:
    first, *rest = rows
    others = dict.fromkeys(row.source for row in rest if row.source != first.source)
    return Listed(first.snapshot, tuple(others), alias)


def _fetch_failed(ref: ModelRef, name: str, error: Exception) -> EmbedwellError:
    if isinstance(error, TaskNotFound):
        return SourceError(f"The download was cancelled: {ref}")
    if isinstance(error, EmbedwellError) and type(error) is not EmbedwellError:
        return error
    return SourceError(f"Source {name} failed to fetch {ref}; the server's log has the reason")
