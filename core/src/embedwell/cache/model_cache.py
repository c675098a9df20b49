"""The model cache of one device: leases, single loads, and what the strategy decides."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, nullcontext

from embedwell.cache.asking import Asking
from embedwell.cache.books import Books
from embedwell.cache.closing import Closing
from embedwell.cache.leaving import Leaving
from embedwell.cache.loading import Loader
from embedwell.cache.naming import named
from embedwell.cache.owner import Hold, Owner
from embedwell.cache.reasons import SHORT, Reason
from embedwell.cache.resident import Lease, Resident
from embedwell.cache.states import State
from embedwell.cache.tally import Tally
from embedwell.errors import Draining, bare
from embedwell.interfaces.caches import CacheStrategy
from embedwell.interfaces.encoders import DeviceMemory, Encoder
from embedwell.interfaces.events import Event
from embedwell.interfaces.models import ModelKey, ModelRef, Snapshot
from embedwell.interfaces.status import CacheCounters, Cleared, MemoryInfo

MAX_FAILED = 1000  # models whose last failure is remembered


class ModelCache:
    """Loads and evicts as the strategy decides; create and use it on the event loop.

    `hold` keeps a snapshot's files while it loads, and raises ModelNotFound where they are gone.
    `keep_alive` is in seconds, None for ever; `pinned` is asked when a model comes, and what it
    names never leaves but by `clear` and `retire`. Raises PluginError for a strategy whose
    `half_life` is no number of seconds.
    """

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
        hold: Hold = lambda snapshot: nullcontext(),
        wish: Callable[[str], None] = lambda tag: None,
        pinned: Callable[[ModelKey], bool] = lambda key: False,
        keep_alive: float | None = None,
    ) -> None:
        self._loader = loader
        self._observer = emit
        self._clock = clock
        self._hold = hold
        self._pinned = pinned
        self._tally = Tally()
        self._books = Books(strategy, memory, safety=safety, clock=clock, wall=wall)
        self._closing = Closing(self._books, loader, self.poke)
        self._leaving = Leaving(
            self._books,
            self._closing,
            emit=self._emit,
            clock=clock,
            changed=self.poke,
            again=self._begin,
        )
        self._asking = Asking(
            self._books, self._leaving, clock=clock, wish=wish, keep_alive=keep_alive
        )
        self._loop = asyncio.get_running_loop()
        self._loads: set[asyncio.Task[None]] = set()
        self._closed = False

    @asynccontextmanager
    async def lease(
        self, snapshot: Snapshot, dtype: str, *, demand: bool = True
    ) -> AsyncIterator[Lease]:
        """The loaded model, held until the block is left; one load serves all who ask.

        Raises OutOfMemory, InvalidModel, ModelError; a failed load is not tried again for a
        while, and who asks meanwhile gets the same error. Without `demand` it is a preload: it
        costs no model that was used of late, and counts as no use.
        """
        # A source may bring other content under a revision that it had before.
        key = f"{snapshot.key}#{snapshot.digest}#{dtype}"
        resident = await self._acquire(key, snapshot, demand)
        if demand:
            resident.requests += 1
            self._books.rates.touch(resident.key, self._clock())
            resident.last_used = self._clock()
        try:
            yield Lease(resident, self._release)
        finally:
            self._release(resident, demand)

    def residents(self) -> Sequence[Resident]:
        """All it knows of, for reports; read, never change."""
        return tuple(self._books.residents.values())

    def memory(self) -> MemoryInfo:
        """The device's bytes; reserved are those of models, the largest peak and leaks."""
        return self._books.memory()

    @property
    def tally(self) -> CacheCounters:
        """What happened since the start."""
        return self._tally.counters()

    async def clear(self, refs: Sequence[ModelRef] | None = None) -> Cleared:
        """Unload the models of these names, pinned ones too; None means all.

        Returns when the idle ones are gone. Leased ones take no new leases and leave after the
        last; who asks for them meanwhile waits and gets them loaded afresh.
        """
        chosen = [r for r in self.residents() if refs is None or named(r.snapshot.key, refs)]
        now, later = await self._leaving.clear(chosen)
        return Cleared(cleared=_tags(now), draining=_tags(later))

    def retire(self, keys: Sequence[ModelKey]) -> None:
        """These are deleted or replaced: idle ones go, leased ones after their last lease.

        A request that knew the model from before still gets it; then it leaves again.
        """
        self._leaving.retire(frozenset(keys))

    def revive(self, keys: Sequence[ModelKey]) -> None:
        """These were published again: they are retired no longer."""
        self._leaving.revive(frozenset(keys))

    async def reclaim(self) -> None:
        """Evict every idle model and wait until they are gone."""
        victims = self._books.evictable(self._books.residents)
        await self._leaving.make_room(victims, SHORT)

    def poke(self) -> None:
        """Ask the strategy anew, once for all that changed in this turn of the loop."""
        self._asking.poke()

    async def aclose(self) -> None:
        """Fail who waits and stop; what is loaded goes with the process."""
        self._closed = True
        self._asking.stop()
        for resident in self.residents():
            resident.refuse(Draining())
        loads = set(self._loads)
        for task in loads:
            task.cancel()
        await self._leaving.aclose()
        await self._closing.aclose()
        if loads:
            await asyncio.wait(loads)

    # Leases

    async def _acquire(self, key: str, snapshot: Snapshot, demand: bool) -> Resident:
        """A resident on which the caller holds a lease."""
        if self._closed:
            raise Draining()
        resident = self._books.residents.get(key)
        ready = resident is not None and resident.state is State.READY
        if demand:
            self._tally.asked(ready)
        if resident is None:
            pinned = self._pinned(snapshot.key)
            resident = self._begin(Resident(key, snapshot, self._clock(), pinned))
        resident.snapshot = snapshot
        if resident.state is State.FAILED:
            self._try_again(resident)
        if ready:
            resident.leases += 1
            return resident
        waiter: asyncio.Future[None] = self._loop.create_future()
        resident.waiters[waiter] = demand
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
        resident.waiters.pop(waiter, None)
        if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
            self._release(resident, False)  # granted in the same moment in which the client left
        elif not resident.awaited and resident.admitted is not None:
            resident.admitted.cancel()  # nobody wants it any more
            resident.admitted = None
            del self._books.residents[key]

    def _release(self, resident: Resident, used: bool = True) -> None:
        resident.leases -= 1
        assert resident.leases >= 0
        if used:
            resident.last_used = self._clock()
        if not resident.leases and not self._closed:
            self._asking.released(resident)

    # Loads

    def _begin(self, resident: Resident) -> Resident:
        self._drop_old_failures()
        self._books.residents[resident.key] = resident
        self._leaving.begins(resident)
        owner = Owner(
            resident,
            self._loader,
            self._books,
            self,
            hold=self._hold,
            emit=self._emit,
            clock=self._clock,
        )
        task = self._loop.create_task(owner.run())
        self._loads.add(task)
        task.add_done_callback(self._loads.discard)
        task.add_done_callback(lambda _: self.poke())
        return resident

    def _drop_old_failures(self) -> None:
        failed = [r for r in self.residents() if r.state is State.FAILED and not r.stuck]
        for resident in failed[: max(0, len(failed) - MAX_FAILED)]:
            del self._books.residents[resident.key]

    def _try_again(self, resident: Resident) -> None:
        """Raises the last error again while the back-off lasts."""
        if self._clock() < resident.until and resident.error is not None:
            raise bare(resident.error)
        resident.become(State.ABSENT)
        resident.since = self._clock()
        self._begin(resident)

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

    async def make_room(self, victims: Sequence[Resident], reason: Reason) -> None:
        """Evict these and wait until they are gone."""
        await self._leaving.make_room(victims, reason)

    async def unload(self, encoder: Encoder, tag: str) -> None:
        """Undo a load."""
        await self._closing.close(encoder, tag)

    def loaded(self, resident: Resident) -> None:
        """Those who waited hold it; if nobody did, it may have to leave at once."""
        self._leaving.loaded(resident)

    def _emit(self, event: Event) -> None:
        self._tally.count(event)
        self._observer(event)


def _tags(residents: Sequence[Resident]) -> Sequence[str]:
    return tuple(dict.fromkeys(resident.tag for resident in residents))
