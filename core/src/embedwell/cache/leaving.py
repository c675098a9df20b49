"""How models leave: evicted while idle, drained while leased, and at most once."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence

from embedwell.cache.books import Books
from embedwell.cache.closing import Closing, owned, stopped
from embedwell.cache.reasons import CLEARED, RETIRED, Reason
from embedwell.cache.resident import Resident
from embedwell.cache.states import HOLDING, State
from embedwell.interfaces.events import Event, ModelEvicted
from embedwell.interfaces.models import ModelKey

RETIRED_SECONDS = 30.0  # in which requests that knew the model from before may still arrive
MAX_RETIRED = 1000  # models that are remembered so


class Leaving:
    """Ends residents' lives; `again` begins the next one for those who already wait for it."""

    def __init__(
        self,
        books: Books,
        closing: Closing,
        *,
        emit: Callable[[Event], None],
        clock: Callable[[], float],
        changed: Callable[[], None],
        again: Callable[[Resident], object],
    ) -> None:
        self._books = books
        self._closing = closing
        self._emit = emit
        self._clock = clock
        self._changed = changed
        self._again = again
        self._unloads: set[asyncio.Task[None]] = set()
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
                owned(self._unloads, self._unload(resident, reason), self._changed)

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
        for key in keys:
            fresh.pop(key, None)  # to the end: the oldest are the first to be forgotten
            fresh[key] = now + RETIRED_SECONDS
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

    async def aclose(self) -> None:
        """Stop; what is loaded goes with the process."""
        self._closed = True
        await stopped(self._unloads)

    async def _unload(self, resident: Resident, reason: Reason) -> None:
        encoder, resident.encoder = resident.encoder, None
        assert encoder is not None
        await self._closing.close(encoder, resident.tag)
        resident.become(State.ABSENT)
        del self._books.residents[resident.key]
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
