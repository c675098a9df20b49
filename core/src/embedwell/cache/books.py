"""What the cache knows of its memory, and the strategy's answers to it."""

import logging
from collections.abc import Callable, Iterable
from contextlib import suppress

from embedwell.cache import ledger
from embedwell.cache.resident import Resident
from embedwell.cache.states import HOLDING, LOADED, State
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

log = logging.getLogger("embedwell.cache")


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
        self._strategy = strategy
        self._memory = memory
        self._safety = safety
        self._clock = clock
        self._wall = wall
        self._measured = Memory(0, 0)
        self._others = 0

    def state(self, without: Resident | None = None) -> CacheState:
        """What a strategy sees; `without` leaves one out that is asked for."""
        now = self._clock()
        residents = self.residents.values()
        entries = [r.entry(now) for r in residents if r.state in HOLDING and r is not without]
        waiting = [r.wanted() for r in residents if r.admitted is not None]
        return CacheState(self.budget(), tuple(entries), tuple(waiting), now, self._wall())

    def budget(self) -> int:
        """Bytes that models may take, net of what others use and of the safety margin."""
        with suppress(OSError):
            self._measured = self._memory.measure()
        residents = self.residents.values()
        if not {r.state for r in residents} & {State.LOADING, State.UNLOADING}:
            # While one loads or leaves, half of a model is in `free`.
            loaded = ledger.held(r.need for r in residents if r.state in LOADED)
            self._others = ledger.others(self._measured, loaded)
        return ledger.budget(self._measured, self._others, self._safety)

    @property
    def ever(self) -> int:
        """The budget if nobody else used the device."""
        return self._measured.total - self._safety

    def ask(self, wanted: Wanted, state: CacheState) -> Decision:
        """The strategy's decision; what can never fit, and what does not, is decided here.

        A Refuse without a reason is for a model larger than the whole budget.
        """
        if wanted.need.weights + wanted.need.peak > state.budget:
            return Refuse("")
        decision = self._strategy.decide(wanted, state)
        if decision == Admit() and state.free_with(wanted.need) < 0:
            log.error("the cache strategy admitted %s beyond the budget", wanted.tag)
            return Wait("the strategy asked for more than there is")
        return decision

    def review(self) -> Review:
        """What the strategy wants unasked."""
        return self._strategy.review(self.state())

    def evictable(self, keys: Iterable[str]) -> list[Resident]:
        """Those of these that may go now; a strategy that names others is overruled."""
        found = [self.residents[key] for key in dict.fromkeys(keys) if key in self.residents]
        return [resident for resident in found if resident.evictable]
