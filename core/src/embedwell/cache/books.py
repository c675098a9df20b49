"""What the cache knows of its memory, and the strategy's answers to it."""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable

from embedwell.cache import ledger
from embedwell.cache.rates import Rates, half_life_of
from embedwell.cache.resident import Resident
from embedwell.cache.states import HOLDING, LOADED, State
from embedwell.cache.wishes import modest
from embedwell.interfaces.caches import (
    Admit,
    CacheState,
    CacheStrategy,
    Decision,
    Refuse,
    Review,
    Wait,
    Wanted,
)
from embedwell.interfaces.encoders import DeviceMemory, Memory
from embedwell.interfaces.status import MemoryInfo

log = logging.getLogger("embedwell.cache")

LATE = 2.0  # seconds in which a device may still give back what an unload freed
MEASURE_AGAIN = 0.25  # seconds until it is measured again meanwhile
SOON = 5.0  # seconds until a request may try a device again that could not be measured
QUIET = 60.0  # seconds between complaints of that
FRESH = 0.1  # seconds in which a look is not repeated: many requests may end in them


class Books:
    """The residents of one device, its ledger, and who decides; on the loop only."""

    def __init__(
        self,
        strategy: CacheStrategy,
        memory: DeviceMemory,
        *,
        safety: int,
        clock: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self.residents: dict[str, Resident] = {}
        self.rates = Rates(half_life_of(strategy))
        self.leaking: dict[int, int] = {}  # bytes whose unload did not end, by its number
        self.overdue: dict[asyncio.Future[None], int] = {}  # bytes of loads that were given up
        self._strategy = strategy
        self._memory = memory
        self._safety = safety
        self._clock = clock
        self._wall = wall
        self._measured = Memory(0, 0)
        self._others = 0
        self._freed_at = self._looked_at = float("-inf")
        self._complained: float | None = None
        self._told = False  # of a failure that lasts

    def state(self, without: Resident | None = None) -> CacheState:
        """What a strategy sees, as of the last look; `without` leaves one out that is asked for."""
        now = self._clock()
        residents = self.residents.values()
        entries = [
            r.entry(now, self.rates.of(r.key, now))
            for r in residents
            if r.state in HOLDING and r is not without
        ]
        waiting = [r.wanted() for r in residents if r.admitted is not None]
        return CacheState(self.budget(), tuple(entries), tuple(waiting), now, self._wall())

    def look(self) -> None:
        """Measure what others take of the device, unless that was done just now.

        While one loads or leaves, half of a model is in what is free: then the last value stands.
        """
        if not self.quiet or self._clock() < self._looked_at + FRESH:
            return
        self._looked_at = self._clock()
        if self._measure():
            loaded = ledger.held(r.need for r in self.residents.values() if r.state in LOADED)
            self._others = ledger.others(self._measured, loaded + self._lost)

    def tags(self, states: Collection[State]) -> frozenset[str]:
        """The names of those in one of these states."""
        return frozenset(r.tag for r in self.residents.values() if r.state in states)

    def budget(self) -> int:
        """Bytes that models may take, net of what others use, leaks and the safety margin.

        What a load that was given up has taken already counts twice: rather that than too little.
        """
        gone = self._lost + sum(self.overdue.values())
        return ledger.budget(self._measured, self._others + gone, self._safety)

    @property
    def _lost(self) -> int:
        return sum(self.leaking.values())

    def _measure(self) -> bool:
        try:
            self._measured = self._memory.measure()
        except Exception as error:
            self._complain(error)
            return False
        self._settle()
        return True

    def _complain(self, error: Exception) -> None:
        now = self._clock()
        if self._complained is None or now - self._complained >= QUIET:
            self._complained, self._told = now, True
            log.error("the device's memory cannot be measured, the last value stands: %s", error)

    def _settle(self) -> None:
        if self._told:
            self._told = False
            log.warning("the device's memory is measured again")

    @property
    def quiet(self) -> bool:
        """Whether nothing loads or leaves."""
        moving = (State.LOADING, State.UNLOADING)
        return not any(r.state in moving for r in self.residents.values())

    @property
    def ever(self) -> int:
        """The budget if nobody else used the device."""
        return self._measured.total - self._safety

    def freed(self) -> None:
        """Memory was given up just now; the device may show it a moment later."""
        self._freed_at, self._looked_at = self._clock(), float("-inf")

    @property
    def _late(self) -> bool:
        return self._clock() < self._freed_at + LATE

    def ask(self, wanted: Wanted, state: CacheState) -> Decision:
        """The strategy's decision, held to what no strategy may do.

        A Refuse without a reason is for a model larger than the whole budget.
        """
        if not self._measured.total:
            return Refuse("the device's memory cannot be measured", SOON)
        need = wanted.need.weights + wanted.need.peak
        if need <= state.budget:
            return modest(self._decide(wanted, state), wanted, state)
        if need <= self.ever and self._late:
            return Wait("memory is on its way back", until=state.now + MEASURE_AGAIN)
        return Refuse("")

    def _decide(self, wanted: Wanted, state: CacheState) -> Decision:
        decision = self._strategy.decide(wanted, state)
        if decision == Admit() and state.free_with(wanted.need) < 0:
            log.error("the cache strategy admitted %s beyond the budget", wanted.tag)
            return Wait("the strategy asked for more than there is")
        return decision

    def review(self) -> Review:
        """What the strategy wants unasked."""
        return self._strategy.review(self.state())

    def surplus(self) -> list[Resident]:
        """Idle models that must go because others took their memory."""
        if not self.quiet:
            return []
        state = self.state()
        return [] if self._late else self.evictable(ledger.surplus(state))

    def evictable(self, keys: Iterable[str]) -> list[Resident]:
        """Those of these that may go now; a strategy that names others is overruled."""
        found = [self.residents[key] for key in dict.fromkeys(keys) if key in self.residents]
        return [resident for resident in found if resident.evictable]

    def memory(self) -> MemoryInfo:
        """The device as measured now, and what is set aside for models."""
        self._measure()
        needs = [r.need for r in self.residents.values() if r.state in HOLDING]
        total, free = self._measured.total, self._measured.free
        reserved = ledger.reserved(needs) + self._lost + sum(self.overdue.values())
        return MemoryInfo(total=total, used=total - free, free=free, reserved=reserved)
