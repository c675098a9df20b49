"""What the sources said of a tag: one question at a time, remembered for as long as they say."""

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple

from embedwell.config.schema import Sources
from embedwell.errors import Draining
from embedwell.interfaces.models import ModelKey, ModelRef, Snapshot, Source
from embedwell.models.asking import Answer, ask

REMEMBERED = 4_096


class _Kept(NamedTuple):
    snapshot: Snapshot
    until: float


class Answers:
    """Loop only; `found` hears of every model that a source has now."""

    def __init__(
        self,
        settings: Sources,
        clock: Callable[[], float],
        found: Callable[[ModelKey], None],
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._found = found
        self._kept: dict[ModelRef, _Kept] = {}
        self._asking: dict[ModelRef, asyncio.Task[Answer | None]] = {}
        self._alive: set[asyncio.Task[Answer | None]] = set()

    def fresh(self, ref: ModelRef) -> Snapshot | None:
        """The last answer, while it holds."""
        kept = self._kept.get(ref)
        return kept.snapshot if kept is not None and self._clock() < kept.until else None

    def keep(self, ref: ModelRef, snapshot: Snapshot) -> None:
        """Remember an answer."""
        if len(self._kept) >= REMEMBERED:
            self._kept.clear()
        self._kept[ref] = _Kept(snapshot, self._clock() + snapshot.fresh_for)
        self._found(snapshot.key)

    def forget(self) -> None:
        """Those who wait still get their answer; it is not remembered."""
        self._kept.clear()
        self._asking.clear()

    async def ask(self, ref: ModelRef, chain: Sequence[tuple[str, Source]]) -> Answer | None:
        """One asks, all who came meanwhile wait for it; whoever leaves takes nobody along.

        None where no source has it.
        """
        task = self._asking.get(ref)
        if task is None:
            task = asyncio.get_running_loop().create_task(ask(chain, ref, self._settings))
            self._asking[ref] = task
            self._alive.add(task)
            task.add_done_callback(lambda done: self._answered(ref, done))
        await asyncio.wait([task])
        if task.cancelled():
            raise Draining()
        return task.result()

    async def aclose(self) -> None:
        """Stop asking."""
        asking = [*self._alive]
        for task in asking:
            task.cancel()
        if asking:
            await asyncio.wait(asking)

    def _answered(self, ref: ModelRef, task: "asyncio.Task[Answer | None]") -> None:
        self._alive.discard(task)
        current = self._asking.get(ref) is task
        if current:
            del self._asking[ref]
        if task.cancelled() or task.exception() is not None:
            return
        answer = task.result()
        if current and answer is not None and isinstance(answer.found, Snapshot):
            self.keep(ref, answer.found)
