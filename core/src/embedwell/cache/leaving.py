"""How models leave: evicted while idle, drained while leased, and at most once."""

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine, Iterable, Sequence
from typing import Any

from embedwell.cache.books import Books
from embedwell.cache.loading import Loader
from embedwell.cache.reasons import CLEARED, RETIRED, Reason
from embedwell.cache.resident import Resident
from embedwell.cache.states import HOLDING, State
from embedwell.interfaces.encoders import Encoder
from embedwell.interfaces.events import Event, ModelEvicted
from embedwell.interfaces.models import ModelKey

log = logging.getLogger("embedwell.cache")

UNLOAD_SECONDS = 30.0  # that an unload may take before others no longer wait for it
RETIRED_SECONDS = 30.0  # in which requests that knew the model from before may still arrive
MAX_RETIRED = 1000  # models that are remembered so


class Leaving:
    """Ends residents' lives; `again` begins the next one for those who already wait for it."""

    def __init__(
        self,
        books: Books,
        loader: Loader,
        *,
        emit: Callable[[Event], None],
        clock: Callable[[], float],
        changed: Callable[[], None],
        again: Callable[[Resident], object],
    ) -> None:
        self._books = books
        self._loader = loader
        self._emit = emit
        self._clock = clock
        self._changed = changed
        self._again = again
        self._unloads: set[asyncio.Task[None]] = set()
        self._closing: set[asyncio.Task[None]] = set()
        self._leaks = 0
        self._retired: dict[ModelKey, float] = {}  # and until when that is remembered
        self._closed = False

    @property
    def busy(self) -> bool:
        """Whether memory is on its way back: whoever wants it asks afterwards."""
        return bool(self._unloads)

    def evict(self, residents: Iterable[Resident], reason: Reason) -> None:
        """Start to unload these; each must be idle."""
        for resident in residents:
            assert resident.idle, "nothing is evicted under a lease"
            if not self._closed:
                resident.become(State.UNLOADING)
                self._own(self._unloads, self._unload(resident, reason))

    async def make_room(self, victims: Iterable[Resident], reason: Reason) -> None:
        """Evict these and wait until they, and any others that were leaving, are gone."""
        self.evict(victims, reason)
        if self._unloads:
            await asyncio.wait(self._unloads)

    def dismiss(self, residents: Iterable[Resident], reason: Reason) -> None:
        """Idle ones go now, leased ones after their leases and without new ones.

        One that is loading goes as soon as nobody holds it.
        """
        for resident in residents:
            match resident.state:
                case State.UNLOADING:
                    pass
                case State.FAILED:
                    if not resident.stuck:
                        del self._books.residents[resident.key]
                case _:
                    resident.leaving, resident.dismissed = reason, True
                    if resident.state is State.READY and resident.leases:
                        resident.become(State.DRAINING)
                    self.settle(resident)

    def loaded(self, resident: Resident) -> None:
        """One that was dismissed while it loaded has served who waited: it takes nobody else."""
        if resident.dismissed:
            resident.become(State.DRAINING)
        self.settle(resident)

    def settle(self, resident: Resident) -> None:
        """Evict what was only waiting to be idle."""
        if resident.leaving and resident.idle:
            self.evict([resident], resident.leaving)

    def retire(self, keys: Collection[ModelKey]) -> None:
        """These, and a later life of one that begins soon, leave as soon as they are idle."""
        now = self._clock()
        fresh = {key: until for key, until in self._retired.items() if until > now}
        fresh |= dict.fromkeys(keys, now + RETIRED_SECONDS)
        self._retired = dict(list(fresh.items())[-MAX_RETIRED:])
        residents = tuple(self._books.residents.values())
        self.dismiss([r for r in residents if r.snapshot.key in keys], RETIRED)

    def revive(self, keys: Collection[ModelKey]) -> None:
        """These are served again, and stay."""
        for key in keys:
            self._retired.pop(key, None)
        for resident in self._books.residents.values():
            if resident.snapshot.key in keys and resident.leaving == RETIRED:
                resident.leaving, resident.dismissed = None, False
        self._changed()

    def begins(self, resident: Resident) -> None:
        """A life begins: a retired model's ends by itself, whoever shares it meanwhile."""
        retired = self._retired.get(resident.snapshot.key, 0.0) > self._clock()
        resident.leaving, resident.dismissed = RETIRED if retired else None, False

    async def clear(self, residents: Sequence[Resident]) -> tuple[list[Resident], list[Resident]]:
        """Dismiss these and wait for those that go now: they, and those that go later."""
        holding = [r for r in residents if r.state in HOLDING]
        self.dismiss([r for r in residents if r.state is not State.ABSENT], CLEARED)
        now = [r for r in holding if r.state is State.UNLOADING]
        await self.make_room([], CLEARED)
        return now, [r for r in holding if r not in now]

    async def close(self, encoder: Encoder, tag: str) -> None:
        """Unload it, but wait for that a bounded time: what does not end is a leak."""
        task = self._own(self._closing, self._close(encoder, tag))
        done, _ = await asyncio.wait([task], timeout=UNLOAD_SECONDS)
        if not done:
            self._leak(task, encoder, tag)

    async def aclose(self) -> None:
        """Stop; what is loaded goes with the process."""
        self._closed = True
        tasks = self._unloads | self._closing
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _unload(self, resident: Resident, reason: Reason) -> None:
        encoder, resident.encoder = resident.encoder, None
        assert encoder is not None
        await self.close(encoder, resident.tag)
        resident.become(State.ABSENT)
        del self._books.residents[resident.key]
        self._books.freed()
        self._emit(
            ModelEvicted(
                at=self._clock(),
                model=resident.tag,
                key=resident.key,
                bytes=resident.need.weights,
                cause=reason.cause,
                reason=reason.text,
            )
        )
        if resident.awaited:  # asked for while it was leaving
            self._again(resident.afresh(self._clock()))

    async def _close(self, encoder: Encoder, tag: str) -> None:
        try:
            await self._loader.unload(encoder)
        except (asyncio.CancelledError, GeneratorExit):
            raise
        except BaseException:  # SystemExit would end the loop
            log.exception("unloading %s failed", tag)

    def _leak(self, task: "asyncio.Task[None]", encoder: Encoder, tag: str) -> None:
        log.error("unloading %s does not end: its memory stays in use", tag)
        self._leaks += 1
        number = self._leaks
        self._books.leaking[number] = encoder.facts.need.weights

        def ended(task: "asyncio.Task[None]") -> None:
            del self._books.leaking[number]
            self._books.freed()

        task.add_done_callback(ended)

    def _own(
        self, tasks: set[asyncio.Task[None]], work: Coroutine[Any, Any, None]
    ) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        task.add_done_callback(lambda _: self._changed())
        return task
