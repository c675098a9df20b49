"""The owner of one load: from its estimate to a model that serves, or a reason why not."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from math import inf
from typing import Protocol

from embedwell.cache import ledger
from embedwell.cache.books import Books
from embedwell.cache.loading import Loaded, Loader, Overdue, back_off, explain
from embedwell.cache.reasons import Reason, room_for
from embedwell.cache.resident import Resident
from embedwell.cache.states import State
from embedwell.errors import Draining, EmbedwellError, Loading, ModelNotFound, OutOfMemory, bare
from embedwell.interfaces.caches import Admit, Need
from embedwell.interfaces.encoders import DeviceOutOfMemory, Encoder
from embedwell.interfaces.events import Event, LoadFailed, ModelLoaded
from embedwell.interfaces.models import Snapshot

log = logging.getLogger("embedwell.cache")

Hold = Callable[[Snapshot], AbstractContextManager[None]]
NOT_YET = (OutOfMemory, ModelNotFound)  # raised before the load: the next request asks again


class Room(Protocol):
    """What an owner needs of the cache."""

    async def admission(self, resident: Resident) -> None:
        """Returns once memory is reserved; raises OutOfMemory."""

    async def make_room(self, victims: Sequence[Resident], reason: Reason) -> None:
        """Evict these and wait until they are gone."""

    async def reclaim(self) -> None:
        """Evict every idle model and wait until they are gone."""

    async def unload(self, encoder: Encoder, tag: str) -> None:
        """Undo a load, in bounded time."""

    def loaded(self, resident: Resident) -> None:
        """It is ready, and those who waited hold it."""


class Owner:
    """Runs one resident's load; no request's end ends it, so it has a hold of its own."""

    def __init__(
        self,
        resident: Resident,
        loader: Loader,
        books: Books,
        room: Room,
        *,
        hold: Hold,
        emit: Callable[[Event], None],
        clock: Callable[[], float],
    ) -> None:
        self._resident = resident
        self._loader = loader
        self._books = books
        self._room = room
        self._hold = hold
        self._emit = emit
        self._clock = clock
        self._started = clock()
        self._reserved = Need(0, 0)

    async def run(self) -> None:
        """Leaves the resident ready, failed or forgotten, and everybody who waits told."""
        resident = self._resident
        try:
            with self._hold(resident.snapshot):
                estimate = await self._loader.estimate(resident.snapshot)
                resident.need, resident.load_seconds = estimate.need, estimate.seconds
                await self._room.admission(resident)
                loaded = await self._load()
                await self._pay_for(loaded.encoder)
                self._commit(loaded)
        except asyncio.CancelledError:
            self._forget(Draining("The load was given up"))
        except Overdue as late:
            self._give_up(late)
        except GeneratorExit:
            raise
        except BaseException as error:  # SystemExit would end the loop, a panic leave who waits
            self._fail(explain(error, resident.tag))

    async def _load(self) -> Loaded:
        resident = self._resident
        resident.become(State.LOADING)
        log.info("loading %s", resident.tag)  # large ones take minutes
        try:
            return await self._loader.load(resident.snapshot)
        except (DeviceOutOfMemory, MemoryError):
            log.warning("no memory to load %s: idle models go, then once more", resident.tag)
        await self._room.reclaim()
        return await self._loader.load(resident.snapshot)

    async def _pay_for(self, encoder: Encoder) -> None:
        """The measured need replaces the reserved one; a larger one is paid for or undone."""
        resident = self._resident
        self._reserved, resident.need = resident.need, encoder.facts.need
        if not ledger.exceeds(resident.need, self._reserved):
            return
        try:
            while self._books.state(without=resident).free_with(resident.need) < 0:
                await self._room.make_room(self._payment(), room_for(resident.tag))
        except BaseException:
            await self._room.unload(encoder, resident.tag)
            raise

    def _payment(self) -> list[Resident]:
        resident = self._resident
        state = self._books.state(without=resident)
        decision = self._books.ask(resident.wanted(), state)
        victims = self._books.evictable(decision.evict) if isinstance(decision, Admit) else []
        if not victims:
            message = f"Model loading failed: {resident.tag} took more memory than there is"
            raise OutOfMemory(message, retry_after=5)
        return victims

    def _commit(self, loaded: Loaded) -> None:
        resident, now = self._resident, self._clock()
        resident.encoder, resident.load_seconds = loaded.encoder, loaded.seconds
        resident.loaded_at = resident.last_used = now
        resident.failures = 0
        resident.error = None
        resident.become(State.READY)
        resident.grant()
        self._emit(
            ModelLoaded(
                at=now,
                model=resident.tag,
                key=resident.key,
                seconds=resident.load_seconds,
                estimated=self._reserved.weights + self._reserved.peak,
                measured=resident.need.weights + resident.need.peak,
                weights=resident.need.weights,
            )
        )
        self._room.loaded(resident)

    def _fail(self, error: EmbedwellError) -> None:
        resident = self._resident
        refused = resident.state is State.ABSENT and isinstance(error, NOT_YET)
        told = resident.demand or not refused  # a preload that found no room is no failure
        if refused or resident.dismissed:
            self._forget(error)
        else:
            self._back_off(error)
        if told:
            self._tell(error)

    def _back_off(self, error: EmbedwellError) -> None:
        resident = self._resident
        resident.become(State.FAILED)
        resident.failures += 1
        resident.until = self._clock() + back_off(resident.failures)
        resident.error = bare(error)
        resident.refuse(error)

    def _tell(self, error: EmbedwellError) -> None:
        resident, now = self._resident, self._clock()
        self._emit(
            LoadFailed(
                at=now,
                model=resident.tag,
                key=resident.key,
                seconds=now - self._started,
                code=error.code,
                message=error.message,
            )
        )

    def _give_up(self, late: Overdue) -> None:
        """Until its thread returns it is charged for, and not tried again."""
        resident = self._resident
        message = f"Model loading failed: {resident.tag} was not there within {late.seconds:g} s"
        error = Loading(message, retry_after=60)
        self._back_off(error)  # dismissed or not: another must not begin beside it
        resident.until = inf
        self._tell(error)
        self._books.overdue[late.ended] = resident.need.weights + resident.need.peak
        late.ended.add_done_callback(self._returned)

    def _returned(self, ended: "asyncio.Future[None]") -> None:
        del self._books.overdue[ended]
        self._books.freed()
        self._resident.until = self._clock()

    def _forget(self, error: EmbedwellError) -> None:
        if self._books.residents.get(self._resident.key) is self._resident:
            del self._books.residents[self._resident.key]
        self._resident.refuse(error)
