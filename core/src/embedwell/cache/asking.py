"""When the strategy is asked, and how its answers are carried out."""

import asyncio
import logging
from collections.abc import Callable

from embedwell.cache.books import Books
from embedwell.cache.leaving import Leaving
from embedwell.cache.loading import too_large
from embedwell.cache.reasons import LET_GO, OTHERS, room_for, unused
from embedwell.cache.resident import Resident
from embedwell.cache.states import COMING, LOADED, State
from embedwell.cache.waiting import next_up
from embedwell.cache.wishes import Wishes
from embedwell.errors import EmbedwellError, ModelError, OutOfMemory
from embedwell.interfaces.caches import Admit, Refuse, Wait, Wanted

log = logging.getLogger("embedwell.cache")

STARVING = 30.0  # seconds after which no other is asked for before a model that waits
SOONEST = 0.01  # seconds: an `until` that has passed must not ask again at once, for ever
ASK_AGAIN = 1.0  # seconds until who waits is asked for again: others give memory back unannounced
LOOK = 5.0  # seconds until memory is looked at while models hold some: others may need it


class Asking:
    """Asks anew after every change and when time has come; on the loop only."""

    def __init__(
        self,
        books: Books,
        leaving: Leaving,
        *,
        clock: Callable[[], float],
        wish: Callable[[str], None],
        keep_alive: float | None,
    ) -> None:
        self._books = books
        self._leaving = leaving
        self._clock = clock
        self._wish = wish
        self._keep_alive = keep_alive
        self._wishes = Wishes()
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._at = float("inf")
        self._due = self._stopped = False

    def poke(self) -> None:
        """Ask the strategy anew, once for all that changed in this turn of the loop."""
        if not self._due:
            self._due = True
            self._loop.call_soon(self._consider)

    def released(self, resident: Resident) -> None:
        """Nobody holds it any more: somebody may wait for that, or it may be due to leave."""
        if resident.leaving:
            self._leaving.settle(resident)
        elif any(r.admitted is not None for r in self._books.residents.values()):
            self.poke()
        elif self._keep_alive is not None and not self._due:
            self._remind(resident.last_used + self._keep_alive)

    def stop(self) -> None:
        """Nothing is considered any more."""
        self._due = self._stopped = True
        if self._timer is not None:
            self._timer.cancel()

    def _consider(self) -> None:
        if self._stopped:
            return  # it was due before
        self._due = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer, self._at = None, float("inf")
        if self._leaving.busy:
            return  # evict, measure, ask again: the end of the unload asks
        if untils := self._considered():
            self._remind(min(untils))

    def _considered(self) -> list[float]:
        """Returns when to consider again by itself; whatever fails, nobody is left waiting."""
        try:
            self._books.look()
            return [*self._ask(), *self._upkeep()]
        except Exception:
            log.exception("the model cache failed")
        self._turn_all_away("the model cache failed, see the server's log")
        return [self._clock() + LOOK]

    def _remind(self, at: float) -> None:
        """Ask again at `at`, or earlier."""
        if at >= self._at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._at = at
        self._timer = self._loop.call_later(max(SOONEST, at - self._clock()), self.poke)

    def _ask(self) -> list[float]:
        try:
            return [*self._serve_waiting(), *self._review()]
        except Exception:
            log.exception("the cache strategy failed")
        self._turn_all_away("the cache strategy raised, see the server's log")
        return []

    def _serve_waiting(self) -> list[float]:
        """Ask for each that waits; returns when to ask again by itself."""
        untils: list[float] = []
        draining: set[str] = set()
        state = self._books.state()
        for wanted in next_up(state.waiting, self._clock(), STARVING):
            match self._books.ask(wanted, state):
                case Admit(evict=()):
                    self._admit(wanted)
                    state = self._books.state()
                case Admit(evict=keys):
                    if victims := self._books.evictable(keys):
                        self._leaving.evict(victims, room_for(wanted.tag))
                        return untils  # who is drained for others stays so: they were not asked
                case Wait(drain=drain, until=until):
                    draining.update(drain)
                    untils += [] if until is None else [until]
                case Refuse() as refusal:
                    self._refuse(wanted, refusal)
                case other:
                    raise TypeError(f"{other!r} is no decision")
        self._set_draining(draining)
        return untils

    def _admit(self, wanted: Wanted) -> None:
        resident = self._books.residents[wanted.key]
        assert resident.admitted is not None
        resident.become(State.RESERVED)
        resident.admitted.set_result(None)
        resident.admitted = None

    def _refuse(self, wanted: Wanted, refusal: Refuse) -> None:
        if refusal.reason:
            message = f"Model loading failed: {refusal.reason} ({wanted.tag})"
            error = OutOfMemory(message, retry_after=refusal.retry_after)
        else:
            error = too_large(wanted.tag, wanted.need, self._books.budget(), self._books.ever)
        # Whoever asks before the owner has told those who wait is asked for anew.
        self._turn_away(self._books.residents.pop(wanted.key), error)

    def _turn_all_away(self, why: str) -> None:
        self._set_draining(set())  # nobody is left who waits for that
        for resident in self._books.residents.values():
            self._turn_away(resident, ModelError(f"Model loading failed: {why}"))

    def _turn_away(self, resident: Resident, error: EmbedwellError) -> None:
        if resident.admitted is not None:
            resident.admitted.set_exception(error)
            resident.admitted = None

    def _set_draining(self, keys: set[str]) -> None:
        """These take no new leases; those that no longer need to leave take them again."""
        for resident in self._books.residents.values():
            leaves = resident.key in keys
            if resident.state is State.READY and leaves and not resident.pinned:
                resident.become(State.DRAINING)
            elif resident.state is State.DRAINING and not leaves and not resident.leaving:
                resident.become(State.READY)
                resident.grant()

    def _review(self) -> list[float]:
        review = self._books.review()
        self._leaving.evict(self._books.evictable(review.evict), LET_GO)
        loaded, coming = self._books.tags(LOADED), self._books.tags(COMING)
        for tag in self._wishes.due(review.load, loaded, coming, self._clock()):
            self._wish(tag)
        return [] if review.until is None else [review.until]

    def _upkeep(self) -> list[float]:
        """What the cache sees to whatever the strategy: keep-alive, and memory of others."""
        self._leaving.evict(self._books.surplus(), OTHERS)
        untils = self._expire()
        residents = self._books.residents.values()
        if any(r.admitted is not None for r in residents):
            untils.append(self._clock() + ASK_AGAIN)
        if any(r.state in LOADED for r in residents):
            untils.append(self._clock() + LOOK)
        return untils

    def _expire(self) -> list[float]:
        """Evict what was not used for `keep_alive` seconds; returns when the next ones are due."""
        if self._keep_alive is None:
            return []
        idle = [r for r in self._books.residents.values() if r.evictable]
        due = {r.key: r.last_used + self._keep_alive for r in idle}
        old = [r for r in idle if due[r.key] <= self._clock()]
        self._leaving.evict(old, unused(self._keep_alive))
        return [due[r.key] for r in idle if r not in old]
