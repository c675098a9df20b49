"""From a tag to a snapshot: asks the sources in order, remembers, fetches once."""

import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager, nullcontext
from itertools import takewhile
from typing import NamedTuple

from msgspec import structs

from embedwell.config.schema import Sources
from embedwell.errors import EmbedwellError, ModelNotFound, ReadOnly, SourceError
from embedwell.interfaces.models import ModelKey, ModelRef, Snapshot, Source
from embedwell.interfaces.services import Listed
from embedwell.interfaces.tasks import Tasks
from embedwell.models.answers import Answers
from embedwell.models.asking import Answer, ask, listing
from embedwell.models.fetching import Fetching
from embedwell.models.holds import Gone
from embedwell.models.near import Known, Near

log = logging.getLogger("embedwell.models")

ATTEMPTS = 3  # to hold a snapshot that is deleted just when it was found

Hold = Callable[[Snapshot], AbstractContextManager[None]]


class Deletion(NamedTuple):
    """The key that is served no more, and every revision that was deleted, that one first."""

    key: ModelKey
    revisions: Sequence[str]

    def done(self, gone: Sequence[str] | None) -> "Deletion":
        """As the source did it: `gone` if it says so, else as it was asked for."""
        if not gone:
            return self
        revisions = sorted(gone, key=lambda revision: revision != self.key.revision)
        return Deletion(structs.replace(self.key, revision=revisions[0]), revisions)


class _Row(NamedTuple):
    source: str
    snapshot: Snapshot

    def fits(self, ref: ModelRef) -> bool:
        return ref.names(structs.replace(self.snapshot.key, source=self.source))


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
        self._settings = settings
        self._aliases = dict(aliases or {})
        self._hold = hold
        self._on_listed = listed
        self._answers = Answers(settings, clock, found)
        self._near = Near(self._known, clock)
        self._fetching = Fetching(tasks, settings.load_timeout)

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
        if self._answers.fresh(ref) is None and not self._fetching.under_way(ref):
            await self._ask(ref)

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
        kept = self._answers.fresh(ref)  # by a branch, say, which no listing knows
        if kept is None:
            raise await self._near.missing(asked)
        return Listed(kept, alias=alias, revisions=(kept.key.revision,))

    async def delete(self, ref: ModelRef) -> Deletion:
        """Delete in the source that serves the tag; raises ModelNotFound, ReadOnly, SourceError."""
        listed = await self._to_delete(ref)
        if listed.alias is not None:
            raise ReadOnly(f"{ref} is an alias of the server's configuration; delete its target")
        going = await self._serving(ref, listed)
        key = going.key
        source = dict(self._sources).get(key.source)
        if source is None:
            raise ReadOnly(f"No source of this server answers for {key}")
        gone = await source.delete(ModelRef(key.name, ref.revision and key.revision, key.source))
        self.invalidate()
        return going.done(gone)

    async def _to_delete(self, ref: ModelRef) -> Listed:
        """By a branch, too, which no listing knows."""
        try:
            return await self.describe(ref)
        except ModelNotFound:
            if ref.revision is None:
                raise
            _, found = await self._ask(ref)
            if not isinstance(found, Snapshot):
                raise
            return Listed(found)

    async def _serving(self, ref: ModelRef, listed: Listed) -> Deletion:
        """What is listed, unless a source before that one serves the tag: none need list it."""
        key = listed.snapshot.key
        before = [*takewhile(lambda item: item[0] != key.source, self._chain(ref))]
        answer = await self._asked_before(before, ref)
        if answer is None:
            return Deletion(key, (key.revision,) if ref.revision else listed.revisions)
        return Deletion(answer.found.key, (answer.found.key.revision,))

    async def _asked_before(
        self, chain: Sequence[tuple[str, Source]], ref: ModelRef
    ) -> Answer | None:
        try:
            return await ask(chain, ref, self._settings)
        except EmbedwellError:
            if self._settings.on_source_error == "stop":
                raise
            return None  # skipped, as it is for who asks for the model

    def invalidate(self) -> None:
        """Forget every answer: a source's models changed."""
        self._answers.forget()
        self._near.forget()
        self._fetching.forget()

    async def aclose(self) -> None:
        """Stop asking, and close the sources; one that fails does not keep the others open."""
        await self._answers.aclose()
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
        raise await self._near.missing(ref)

    async def _snapshot(self, ref: ModelRef) -> Snapshot:
        if (kept := self._answers.fresh(ref)) is not None:
            return kept
        if not self._fetching.under_way(ref):
            source, found = await self._ask(ref)
            if isinstance(found, Snapshot):
                return found
            self._fetching.start(ref, source, found)
        snapshot, current = await self._fetching.result(ref)
        if current:
            self._answers.keep(ref, snapshot)
        return snapshot

    async def _ask(self, ref: ModelRef) -> Answer:
        try:
            answer = await self._answers.ask(ref, self._chain(ref))
        except SourceError as error:
            raise await self._near.failed(ref, error) from None
        if answer is None:
            raise await self._near.missing(ref)
        return answer

    async def _known(self) -> Known:
        known: dict[str, set[str]] = {}
        async for source, snapshot in self._local(self._sources):
            known.setdefault(snapshot.key.name, set()).add(source)
        for alias, target in self._aliases.items():
            if target.name in known:
                known.setdefault(alias, set())
        return known

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
    same = [row.snapshot.key.revision for row in rows if row.source == first.source]
    return Listed(first.snapshot, tuple(others), alias, tuple(dict.fromkeys(same)))
