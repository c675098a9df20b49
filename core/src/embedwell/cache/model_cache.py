"""The model cache of one device: leases, single loads, and what the strategy decides."""

import asyncio
import copy
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from embedwell.cache import ledger
from embedwell.cache.loading import Loader, back_off, explain, too_large
from embedwell.cache.resident import Lease, Resident
from embedwell.cache.states import HOLDING, LOADED, State
from embedwell.cache.waiting import next_up
from embedwell.errors import EmbedwellError, OutOfMemory
from embedwell.interfaces.caches import (
    Admit,
    CacheState,
    CacheStrategy,
    Decision,
    Refuse,
    Wait,
    Wanted,
)
from embedwell.interfaces.encoders import DeviceMemory, DeviceOutOfMemory, Encoder, Memory
from embedwell.interfaces.events import Event, LoadFailed, ModelEvicted, ModelLoaded
from embedwell.interfaces.models import Snapshot

log = logging.getLogger("embedwell.cache")

PATIENCE = 30.0  # seconds a model waits before no other is asked for
SOONEST = 0.01  # seconds: an `until` that has passed must not ask again at once, for ever


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
        self._strategy = strategy
        self._memory = memory
        self._safety = safety
        self._emit = emit
        self._clock = clock
        self._wall = wall
        self._wish = wish
        self._loop = asyncio.get_running_loop()
        self._residents: dict[str, Resident] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._last_measured = Memory(0, 0)
        self._others = 0
        self._timer: asyncio.TimerHandle | None = None
        self._due = False

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
        return tuple(self._residents.values())

    async def reclaim(self) -> None:
        """Evict every idle model and wait until they are gone."""
        self._evict([r for r in self._residents.values() if self._evictable(r)], "memory is short")
        unloading = [t for t in self._tasks if t.get_name() == "unload"]
        if unloading:
            await asyncio.wait(unloading)

    def retire(self, prefix: str) -> None:
        """Take no new leases on keys that begin so; they go once nobody holds them."""
        for resident in list(self._residents.values()):
            if resident.key.startswith(prefix):
                resident.retired = True
                if resident.state is State.READY:
                    resident.become(State.DRAINING)
                if self._evictable(resident):
                    self._evict([resident], "its model is gone")

    def poke(self) -> None:
        """Ask the strategy anew, once for all that changed in this turn of the loop."""
        if not self._due:
            self._due = True
            self._loop.call_soon(self._consider)

    async def aclose(self) -> None:
        """Fail who waits and stop; what is loaded goes with the process."""
        if self._timer is not None:
            self._timer.cancel()
        self._due = True  # nothing is considered any more
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    # Leases

    async def _acquire(self, key: str, snapshot: Snapshot, demand: bool) -> Resident:
        """A resident on which the caller holds a lease."""
        resident = self._residents.get(key)
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
        return self._residents[key]

    def _leave(self, key: str, waiter: "asyncio.Future[None]") -> None:
        resident = self._residents.get(key)
        if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
            assert resident is not None
            self._release(resident)  # granted in the same moment in which the client left
        elif resident is not None and not resident.awaited and resident.admitted is not None:
            resident.admitted.cancel()  # nobody wants it any more

    def _release(self, resident: Resident) -> None:
        resident.leases -= 1
        assert resident.leases >= 0
        resident.last_used = self._clock()
        if resident.leases:
            return
        if resident.retired and self._evictable(resident):
            self._evict([resident], "its model is gone")
        elif any(r.state is State.ABSENT for r in self._residents.values()):
            self.poke()

    # Loads

    def _begin(self, resident: Resident) -> Resident:
        self._residents[resident.key] = resident
        self._own("load", self._bring(resident))
        return resident

    def _try_again(self, resident: Resident) -> None:
        """Raises the last error again while the back-off lasts."""
        if self._clock() < resident.until and resident.error is not None:
            raise copy.copy(resident.error)
        resident.become(State.ABSENT)
        resident.since = self._clock()
        self._begin(resident)

    def _own(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _bring(self, resident: Resident) -> None:
        """The owner of one load; no request's end ends it."""
        started = self._clock()
        try:
            reserved = resident.need = await self._loader.estimate(resident.snapshot)
            await self._admission(resident)
            encoder = await self._load(resident)
            await self._settle(resident, encoder, reserved.weights + reserved.peak, started)
        except asyncio.CancelledError:
            self._give_up(resident, OutOfMemory("The server is stopping", retry_after=1))
        except Exception as error:
            self._fail(resident, explain(error, resident.tag), started)
        finally:
            self.poke()

    async def _admission(self, resident: Resident) -> None:
        resident.admitted = self._loop.create_future()
        self.poke()
        try:
            await resident.admitted
        finally:
            resident.admitted = None

    async def _load(self, resident: Resident) -> Encoder:
        resident.become(State.LOADING)
        try:
            return await self._loader.load(resident.snapshot)
        except (DeviceOutOfMemory, MemoryError):
            log.warning("no memory to load %s: idle models go, then once more", resident.tag)
        await self.reclaim()
        return await self._loader.load(resident.snapshot)

    async def _settle(
        self, resident: Resident, encoder: Encoder, estimated: int, started: float
    ) -> None:
        """Commit the measured need; one larger than what was reserved is paid for or undone."""
        reserved, resident.need = resident.need, encoder.facts.need
        if ledger.exceeds(resident.need, reserved):
            try:
                await self._pay(resident)
            except BaseException:
                await self._loader.unload(encoder)
                raise
        now = self._clock()
        resident.encoder = encoder
        resident.load_seconds = now - started
        resident.loaded_at = resident.last_used = now
        resident.failures = 0
        resident.become(State.READY)
        resident.grant()
        need = resident.need
        self._emit(
            ModelLoaded(
                at=now,
                model=resident.tag,
                key=resident.key,
                seconds=resident.load_seconds,
                estimated=estimated,
                measured=need.weights + need.peak,
            )
        )

    async def _pay(self, resident: Resident) -> None:
        while self._state(without=resident).free_with(resident.need) < 0:
            decision = self._ask(resident.wanted(), self._state(without=resident))
            victims = self._named(decision.evict) if isinstance(decision, Admit) else []
            if not victims:
                raise OutOfMemory(
                    f"Model loading failed: {resident.tag} took more memory than there is",
                    retry_after=5,
                )
            self._evict(victims, f"room for {resident.tag}")
            await asyncio.wait([t for t in self._tasks if t.get_name() == "unload"])

    def _fail(self, resident: Resident, error: EmbedwellError, started: float) -> None:
        now = self._clock()
        if resident.state is State.ABSENT and isinstance(error, OutOfMemory):
            self._give_up(resident, error)  # refused, not failed: the next request asks again
        else:
            resident.become(State.FAILED)
            resident.failures += 1
            resident.until = now + back_off(resident.failures)
            resident.error = error.with_traceback(None)
            resident.refuse(error)
        self._emit(
            LoadFailed(
                at=now,
                model=resident.tag,
                key=resident.key,
                seconds=now - started,
                code=error.code,
                message=error.message,
            )
        )

    def _give_up(self, resident: Resident, error: EmbedwellError) -> None:
        self._residents.pop(resident.key, None)
        resident.refuse(error)

    # Evictions

    def _evictable(self, resident: Resident) -> bool:
        return resident.entry(0.0).evictable

    def _named(self, keys: Iterable[str]) -> list[Resident]:
        """Those that may go now; a strategy that names others is overruled."""
        found = [self._residents[key] for key in keys if key in self._residents]
        return [resident for resident in found if self._evictable(resident)]

    def _evict(self, residents: Sequence[Resident], reason: str) -> None:
        for resident in residents:
            resident.become(State.UNLOADING)
            self._own("unload", self._unload(resident, reason))

    async def _unload(self, resident: Resident, reason: str) -> None:
        encoder, resident.encoder = resident.encoder, None
        try:
            if encoder is not None:
                await self._loader.unload(encoder)
        except Exception:
            log.exception("unloading %s failed", resident.tag)
        resident.become(State.ABSENT)
        del self._residents[resident.key]
        freed = resident.need.weights
        event = ModelEvicted(
            at=self._clock(), model=resident.tag, key=resident.key, bytes=freed, reason=reason
        )
        self._emit(event)
        if resident.awaited:
            self._begin_again(resident)
        self.poke()

    def _begin_again(self, gone: Resident) -> None:
        """Who asked for it while it was leaving waits for its next load."""
        fresh = Resident(gone.key, gone.snapshot, self._clock())
        fresh.waiters, gone.waiters = gone.waiters, []
        fresh.demand, fresh.usage, fresh.requests = True, gone.usage, gone.requests
        self._begin(fresh)

    # The strategy

    def _state(self, without: Resident | None = None) -> CacheState:
        now = self._clock()
        holding = [r for r in self._residents.values() if r.state in HOLDING and r is not without]
        waiting = [r.wanted() for r in self._residents.values() if r.admitted is not None]
        entries = tuple(r.entry(now) for r in holding)
        return CacheState(self._budget(), entries, tuple(waiting), now, self._wall())

    def _budget(self) -> int:
        with suppress(OSError):
            self._last_measured = self._memory.measure()
        states = {r.state for r in self._residents.values()}
        if not states & {State.LOADING, State.UNLOADING}:  # else half of a model is in `free`
            loaded = [r.need for r in self._residents.values() if r.state in LOADED]
            self._others = ledger.others(self._last_measured, ledger.held(loaded))
        return ledger.budget(self._last_measured, self._others, self._safety)

    def _ask(self, wanted: Wanted, state: CacheState) -> Decision:
        if wanted.need.weights + wanted.need.peak > state.budget:
            return Refuse("")
        decision = self._strategy.decide(wanted, state)
        if decision == Admit() and state.free_with(wanted.need) < 0:
            log.error("the cache strategy admitted %s beyond the budget", wanted.tag)
            return Wait("the strategy asked for more than there is")
        return decision

    def _consider(self) -> None:
        self._due = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if any(r.state is State.UNLOADING for r in self._residents.values()):
            return  # evict, measure, ask again: the end of the unload asks
        untils = [u for u in (self._serve_waiting(), self._review()) if u is not None]
        if untils:
            delay = max(SOONEST, min(untils) - self._clock())
            self._timer = self._loop.call_later(delay, self.poke)

    def _serve_waiting(self) -> float | None:
        """Ask for each that waits; returns when to ask again by itself."""
        untils: list[float] = []
        draining: set[str] = set()
        for wanted in next_up(self._state().waiting, self._clock(), PATIENCE):
            match self._ask(wanted, self._state()):
                case Admit(evict=()):
                    self._admit(wanted.key)
                case Admit(evict=keys):
                    if victims := self._named(keys):
                        self._evict(victims, f"room for {wanted.tag}")
                        break
                case Wait(drain=drain, until=until):
                    draining.update(drain)
                    untils += [] if until is None else [until]
                case Refuse() as refusal:
                    self._refuse(wanted, refusal)
        self._set_draining(draining)
        return min(untils, default=None)

    def _admit(self, key: str) -> None:
        resident = self._residents[key]
        assert resident.admitted is not None
        resident.become(State.RESERVED)
        resident.admitted.set_result(None)
        resident.admitted = None

    def _refuse(self, wanted: Wanted, refusal: Refuse) -> None:
        resident = self._residents[wanted.key]
        assert resident.admitted is not None
        if refusal.reason:
            message = f"Model loading failed: {refusal.reason} ({wanted.tag})"
            error = OutOfMemory(message, retry_after=refusal.retry_after)
        else:
            ever = self._last_measured.total - self._safety
            error = too_large(wanted.tag, wanted.need, self._budget(), ever)
        resident.admitted.set_exception(error)
        resident.admitted = None

    def _set_draining(self, keys: set[str]) -> None:
        """These take no new leases; those that no longer need to leave take them again."""
        for resident in self._residents.values():
            if resident.state is State.READY and resident.key in keys:
                resident.become(State.DRAINING)
            elif resident.state is State.DRAINING and not (
                resident.key in keys or resident.retired
            ):
                resident.become(State.READY)
                resident.grant()

    def _review(self) -> float | None:
        review = self._strategy.review(self._state())
        self._evict(self._named(review.evict), "the strategy let it go")
        for tag in review.load:
            self._wish(tag)
        return review.until
