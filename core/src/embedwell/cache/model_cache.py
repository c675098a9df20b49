"""The model cache of one device: leases, single loads, and what the strategy decides."""

import asyncio
import copy
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any

from embedwell.cache.books import Books
from embedwell.cache.loading import Loader, too_large
from embedwell.cache.owner import Owner
from embedwell.cache.resident import Lease, Resident
from embedwell.cache.states import State
from embedwell.cache.waiting import next_up
from embedwell.errors import Draining, ModelError, OutOfMemory
from embedwell.interfaces.caches import Admit, CacheStrategy, Refuse, Wait, Wanted
from embedwell.interfaces.encoders import DeviceMemory
from embedwell.interfaces.events import Event, ModelEvicted
from embedwell.interfaces.models import Snapshot

log = logging.getLogger("embedwell.cache")

PATIENCE = 30.0  # seconds a model waits before no other is asked for
SOONEST = 0.01  # seconds: an `until` that has passed must not ask again at once, for ever
MAX_FAILED = 1000  # models whose last failure is remembered


class ModelCache:
    """Loads and evicts as the strategy decides; create and use it on the event loop."""

    def __init__(
        self,
        loader: Loader,
        strategy: CacheStrategy,
        memory: DeviceMemory,
        *,
        safety: int,
        emit: Callable[[Event], None],
        clock: Callable[[], float],
        wall: Callable[[], float],
        wish: Callable[[str], None] = lambda tag: None,
    ) -> None:
        self._loader = loader
        self._books = Books(strategy, memory, safety=safety, clock=clock, wall=wall)
        self._emit = emit
        self._clock = clock
        self._wish = wish
        self._loop = asyncio.get_running_loop()
        self._loads: set[asyncio.Task[None]] = set()
        self._unloads: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._due = False
        self._closed = False

    @asynccontextmanager
    async def lease(
        self, snapshot: Snapshot, dtype: str, *, demand: bool = True
    ) -> AsyncIterator[Lease]:
        """The loaded model, held until the block is left; one load serves all who ask.

        Raises OutOfMemory, InvalidModel, ModelError; a failed load is not tried again for a
        while, and who asks meanwhile gets the same error.
        """
        resident = await self._acquire(f"{snapshot.key}#{dtype}", snapshot, demand)
        resident.touch(self._clock())
        try:
            yield Lease(resident, self._release)
        finally:
            self._release(resident)

    def residents(self) -> Sequence[Resident]:
        """All it knows of, for reports; read, never change."""
        return tuple(self._books.residents.values())

    async def reclaim(self) -> None:
        """Evict every idle model and wait until they are gone."""
        await self.make_room(self._books.evictable(self._books.residents), "memory is short")

    async def make_room(self, victims: Sequence[Resident], reason: str) -> None:
        """Evict these and wait until they, and any others that were leaving, are gone."""
        self._evict(victims, reason)
        if self._unloads:
            await asyncio.wait(self._unloads)

    def poke(self) -> None:
        """Ask the strategy anew, once for all that changed in this turn of the loop."""
        if not self._due:
            self._due = True
            self._loop.call_soon(self._consider)

    async def aclose(self) -> None:
        """Fail who waits and stop; what is loaded goes with the process."""
        self._closed = self._due = True  # nothing is considered any more
        if self._timer is not None:
            self._timer.cancel()
        for resident in self.residents():
            resident.refuse(Draining("The server is stopping", retry_after=1))
        tasks = self._loads | self._unloads
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    # Leases

    async def _acquire(self, key: str, snapshot: Snapshot, demand: bool) -> Resident:
        """A resident on which the caller holds a lease."""
        if self._closed:
            raise Draining("The server is stopping", retry_after=1)
        resident = self._books.residents.get(key)
        if resident is None:
            resident = self._begin(Resident(key, snapshot, self._clock()))
        elif resident.state is State.FAILED:
            self._try_again(resident)
        if resident.state is State.READY:
            resident.leases += 1
            return resident
        resident.demand = resident.demand or demand
        waiter: asyncio.Future[None] = self._loop.create_future()
        resident.waiters.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            self._leave(key, waiter)
            raise
        return self._books.residents[key]

    def _leave(self, key: str, waiter: "asyncio.Future[None]") -> None:
        resident = self._books.residents.get(key)
        if resident is None:
            return
        if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
            self._release(resident)  # granted in the same moment in which the client left
        elif not resident.awaited and resident.admitted is not None:
            resident.admitted.cancel()  # nobody wants it any more
            resident.admitted = None
            del self._books.residents[key]

    def _release(self, resident: Resident) -> None:
        resident.leases -= 1
        assert resident.leases >= 0
        resident.last_used = self._clock()
        wanted = any(r.admitted is not None for r in self._books.residents.values())
        if wanted and not resident.leases:
            self.poke()

    # Loads

    def _begin(self, resident: Resident) -> Resident:
        self._drop_old_failures()
        self._books.residents[resident.key] = resident
        owner = Owner(resident, self._loader, self._books, self, emit=self._emit, clock=self._clock)
        self._own(self._loads, owner.run())
        return resident

    def _drop_old_failures(self) -> None:
        failed = [r for r in self._books.residents.values() if r.state is State.FAILED]
        for resident in failed[: max(0, len(failed) - MAX_FAILED)]:
            del self._books.residents[resident.key]

    def _try_again(self, resident: Resident) -> None:
        """Raises the last error again while the back-off lasts."""
        if self._clock() < resident.until and resident.error is not None:
            raise copy.copy(resident.error)
        resident.become(State.ABSENT)
        resident.since = self._clock()
        self._begin(resident)

    def _own(self, tasks: set[asyncio.Task[None]], work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        task.add_done_callback(lambda _: self.poke())

    async def admission(self, resident: Resident) -> None:
        """Returns once memory is reserved; raises OutOfMemory."""
        if not resident.awaited:
            raise asyncio.CancelledError  # who asked has left
        admitted = resident.admitted = self._loop.create_future()
        self.poke()
        try:
            await admitted
        finally:
            resident.admitted = None

    # Evictions

    def _evict(self, residents: Sequence[Resident], reason: str) -> None:
        for resident in residents:
            resident.become(State.UNLOADING)
            self._own(self._unloads, self._unload(resident, reason))

    async def _unload(self, resident: Resident, reason: str) -> None:
        encoder, resident.encoder = resident.encoder, None
        try:
            if encoder is not None:
                await self._loader.unload(encoder)
        except Exception:
            log.exception("unloading %s failed", resident.tag)
        resident.become(State.ABSENT)
        del self._books.residents[resident.key]
        freed = resident.need.weights
        self._emit(
            ModelEvicted(
                at=self._clock(), model=resident.tag, key=resident.key, bytes=freed, reason=reason
            )
        )
        if resident.awaited:  # asked for while it was leaving
            self._begin(resident.afresh(self._clock()))

    # The strategy

    def _consider(self) -> None:
        self._due = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._unloads:
            return  # evict, measure, ask again: the end of the unload asks
        try:
            untils = [u for u in (self._serve_waiting(), self._review()) if u is not None]
        except Exception:
            log.exception("the cache strategy failed")
            self._strategy_failed()
            return
        if untils:
            delay = max(SOONEST, min(untils) - self._clock())
            self._timer = self._loop.call_later(delay, self.poke)

    def _strategy_failed(self) -> None:
        error = ModelError("Model loading failed: the cache strategy raised, see the server's log")
        for resident in self.residents():
            if resident.admitted is not None:
                resident.admitted.set_exception(error)
                resident.admitted = None

    def _serve_waiting(self) -> float | None:
        """Ask for each that waits; returns when to ask again by itself."""
        untils: list[float] = []
        draining: set[str] = set()
        for wanted in next_up(self._books.state().waiting, self._clock(), PATIENCE):
            match self._books.ask(wanted, self._books.state()):
                case Admit(evict=()):
                    self._admit(wanted)
                case Admit(evict=keys):
                    if victims := self._books.evictable(keys):
                        self._evict(victims, f"room for {wanted.tag}")
                        break
                case Wait(drain=drain, until=until):
                    draining.update(drain)
                    untils += [] if until is None else [until]
                case Refuse() as refusal:
                    self._refuse(wanted, refusal)
        self._set_draining(draining)
        return min(untils, default=None)

    def _admit(self, wanted: Wanted) -> None:
        resident = self._books.residents[wanted.key]
        assert resident.admitted is not None
        resident.become(State.RESERVED)
        resident.admitted.set_result(None)
        resident.admitted = None

    def _refuse(self, wanted: Wanted, refusal: Refuse) -> None:
        resident = self._books.residents[wanted.key]
        assert resident.admitted is not None
        if refusal.reason:
            message = f"Model loading failed: {refusal.reason} ({wanted.tag})"
            error = OutOfMemory(message, retry_after=refusal.retry_after)
        else:
            error = too_large(wanted.tag, wanted.need, self._books.budget(), self._books.ever)
        resident.admitted.set_exception(error)
        resident.admitted = None

    def _set_draining(self, keys: set[str]) -> None:
        """These take no new leases; those that no longer need to leave take them again."""
        for resident in self._books.residents.values():
            leaves = resident.key in keys
            if resident.state is State.READY and leaves:
                resident.become(State.DRAINING)
            elif resident.state is State.DRAINING and not leaves:
                resident.become(State.READY)
                resident.grant()

    def _review(self) -> float | None:
        review = self._books.review()
        self._evict(self._books.evictable(review.evict), "the strategy let it go")
        for tag in review.load:
            self._wish(tag)
        return review.until
