"""Loads models before anybody asks for them, in order, as one task."""

from collections.abc import Sequence

from embedwell.cache.model_cache import ModelCache
from embedwell.cache.states import State
from embedwell.errors import EmbedwellError, ModelError, ModelNotFound
from embedwell.interfaces.models import ModelRef, Progress
from embedwell.interfaces.status import Warming, WarmingStatus
from embedwell.interfaces.tasks import Task, Tasks
from embedwell.models.registry import SourceRegistry

SHOWN = 200  # characters of a task's key


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
        """Start it, at most `most` models of them; and how each stood.

        Raises what a source raised, but for ModelNotFound.
        """
        rows: dict[ModelRef, WarmingStatus] = {}
        for ref in dict.fromkeys(refs):
            taken = sum(status in ("ready", "queued") for status in rows.values())
            rows[ref] = await self._status(ref, most, taken)
        task = self.start([ref for ref, status in rows.items() if status == "queued"])
        return task, [Warming(model=str(ref), status=status) for ref, status in rows.items()]

    async def _status(self, ref: ModelRef, most: int | None, taken: int) -> WarmingStatus:
        if most is not None and taken >= most:
            return "skipped"
        if self._ready(ref):
            return "ready"
        try:
            await self._registry.find(ref)
        except ModelNotFound:
            return "not_found"
        return "queued"

    def _ready(self, ref: ModelRef) -> bool:
        wanted = self._registry.canonical(ref)
        return any(
            resident.state is State.READY
            and resident.snapshot.key.name == wanted.name
            and wanted.revision in (None, resident.snapshot.key.revision)
            and wanted.source in (None, resident.snapshot.key.source)
            for resident in self._cache.residents()
        )

    def start(self, refs: Sequence[ModelRef]) -> Task:
        """One task for all of them."""

        async def run(progress: Progress) -> None:
            failures: list[str] = []
            for number, ref in enumerate(refs):
                progress(number, len(refs))
                failures += await self._load(ref)
            progress(len(refs), len(refs))
            if failures:
                raise ModelError(f"Not loaded: {'; '.join(failures)}")

        return self._tasks.start("preload", ", ".join(map(str, refs))[:SHOWN], run)

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
