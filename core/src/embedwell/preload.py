"""Loads models before anybody asks for them, in order, as one task."""

import asyncio
import hashlib
from collections.abc import Sequence
from functools import partial

from embedwell.cache.model_cache import ModelCache
from embedwell.cache.states import State
from embedwell.errors import EmbedwellError, ModelError, ModelNotFound
from embedwell.interfaces.models import ModelRef, Progress
from embedwell.interfaces.status import Warming, WarmingStatus
from embedwell.interfaces.tasks import Task, Tasks
from embedwell.models.registry import SourceRegistry

QUESTIONS = 16  # that are put to the sources at once
SHOWN = 160  # characters of a task's key


class Preloader:
    """Warms the cache; a model used of late is never evicted for it."""

    def __init__(
        self, registry: SourceRegistry, cache: ModelCache, tasks: Tasks, dtype: str
    ) -> None:
        self._registry = registry
        self._cache = cache
        self._tasks = tasks
        self._dtype = dtype

    async def ask(
        self, refs: Sequence[ModelRef], most: int | None
    ) -> tuple[Task, Sequence[Warming]]:
        """Start it, at most `most` models of them; and how each stood."""
        wanted = [*dict.fromkeys(refs)]
        turns = asyncio.Semaphore(QUESTIONS)
        known = await asyncio.gather(*(self._known(ref, turns) for ref in wanted))
        rows: dict[ModelRef, WarmingStatus] = {}
        for ref, status in zip(wanted, known, strict=True):
            taken = sum(row in ("ready", "queued") for row in rows.values())
            rows[ref] = "skipped" if most is not None and taken >= most else status
        queued = [ref for ref, status in rows.items() if status == "queued"]
        task = self.start(queued, asked=wanted)
        return task, [Warming(model=str(ref), status=status) for ref, status in rows.items()]

    async def _known(self, ref: ModelRef, turns: asyncio.Semaphore) -> WarmingStatus:
        if self._ready(ref):
            return "ready"
        async with turns:
            try:
                await self._registry.find(ref)
            except ModelNotFound:
                return "not_found"
            except EmbedwellError:
                pass  # one that cannot be had keeps no other from loading: the task will say
        return "queued"

    def _ready(self, ref: ModelRef) -> bool:
        wanted = self._registry.canonical(ref)
        residents = self._cache.residents()
        return any(r.state is State.READY and wanted.names(r.snapshot.key) for r in residents)

    async def most_used(self, tags: Sequence[str]) -> Sequence[ModelRef]:
        """Those of these that are at hand: nothing is downloaded because it once was in use."""
        local = {listed.snapshot.key.name for listed in await self._registry.models()}
        return [ModelRef(tag) for tag in tags if tag in local]

    def wish(self, tag: str) -> None:
        """Load what is at hand of this name, if anything is."""
        self._tasks.start("wish", tag, partial(self._wished, tag))

    async def _wished(self, tag: str, progress: Progress) -> None:
        progress(0, None)
        key = (await self._registry.describe(ModelRef(tag))).snapshot.key
        self.start([ModelRef(key.name, key.revision, key.source)])

    def start(self, refs: Sequence[ModelRef], asked: Sequence[ModelRef] = ()) -> Task:
        """One task for all of them; where none is left to load it is known by those `asked` for."""

        async def run(progress: Progress) -> None:
            failures: list[str] = []
            for number, ref in enumerate(refs):
                progress(number, len(refs))
                failures += await self._load(ref)
            progress(len(refs), len(refs))
            if failures:
                raise ModelError(f"Not loaded: {'; '.join(failures)}")

        return self._tasks.start("preload", _key(refs or asked), run)

    async def _load(self, ref: ModelRef) -> list[str]:
        """Why not, if not."""
        try:
            async with (
                self._registry.open(ref) as snapshot,
                self._cache.lease(snapshot, self._dtype, demand=False),
            ):
                return []
        except EmbedwellError as error:
            return [f"{ref}: {error.message}"]


def _key(refs: Sequence[ModelRef]) -> str:
    """The same for the same models only."""
    whole = ", ".join(map(str, refs))
    if len(whole) <= SHOWN:
        return whole
    return f"{whole[:SHOWN]}… {hashlib.sha256(whole.encode()).hexdigest()[:16]}"
