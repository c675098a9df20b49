"""One model in the cache: its state, who waits for it, who holds it."""

import asyncio
from collections.abc import Callable
from math import inf
from typing import Literal

from embedwell.cache.reasons import Reason
from embedwell.cache.states import LOADED, State, step
from embedwell.errors import EmbedwellError, bare
from embedwell.interfaces.caches import Entry, Need, Wanted
from embedwell.interfaces.encoders import Encoder
from embedwell.interfaces.models import Snapshot

IDLE = frozenset({State.READY, State.DRAINING})


class Resident:
    """Mutable, on the loop only; the cache alone changes it.

    `leaving` is why it goes when its last lease ends, None where it stays. Once `dismissed` it
    serves who waits for it, and takes no new leases. `requests` are those that it served since it
    was loaded. `snapshot` is as the newest request brought it: content may move.
    """

    def __init__(self, key: str, snapshot: Snapshot, now: float, pinned: bool = False) -> None:
        self.key = key
        self.snapshot = snapshot
        self.pinned = pinned
        self.state = State.ABSENT
        self.leaving: Reason | None = None
        self.dismissed = False
        self.need = Need(0, 0)
        self.encoder: Encoder | None = None
        self.leases = 0
        self.requests = 0
        self.since = now
        self.last_used = now
        self.loaded_at = now
        self.load_seconds = 0.0
        self.waiters: dict[asyncio.Future[None], bool] = {}  # and whether it is demand
        self.admitted: asyncio.Future[None] | None = None
        self.error: EmbedwellError | None = None
        self.failures = 0
        self.until = 0.0

    @property
    def tag(self) -> str:
        return self.snapshot.key.name

    @property
    def stuck(self) -> bool:
        """Whether its load was given up and has not returned: another must not begin."""
        return self.state is State.FAILED and self.until == inf

    def become(self, state: State) -> None:
        self.state = step(self.state, state)

    def entry(self, now: float, rate: float) -> Entry:
        """How a strategy sees it."""
        state: Literal["loading", "ready", "draining", "unloading"]
        state = "loading" if self.state not in LOADED else self.state.value  # type: ignore[assignment]
        return Entry(
            key=self.key,
            tag=self.tag,
            need=self.need,
            state=state,
            leases=self.leases,
            last_used=self.last_used,
            loaded_at=self.loaded_at,
            rate=rate,
            load_seconds=self.load_seconds,
            pinned=self.pinned,
        )

    def wanted(self) -> Wanted:
        return Wanted(self.key, self.tag, self.need, self.since, self.demand)

    def grant(self) -> None:
        """Everyone who waits holds a lease from this moment, before anything else can happen."""
        for waiter in self.waiters:
            if not waiter.done():
                self.leases += 1
                waiter.set_result(None)
        self.waiters.clear()

    def refuse(self, error: EmbedwellError) -> None:
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_exception(bare(error))
        self.waiters.clear()

    @property
    def idle(self) -> bool:
        """Loaded, and nobody holds it."""
        return self.state in IDLE and not self.leases

    @property
    def evictable(self) -> bool:
        return self.idle and not self.pinned

    def afresh(self, now: float) -> "Resident":
        """The same model's next life, with those who wait for it."""
        fresh = Resident(self.key, self.snapshot, now, self.pinned)
        fresh.waiters, self.waiters = self.waiters, {}
        return fresh

    @property
    def awaited(self) -> bool:
        return any(not waiter.done() for waiter in self.waiters)

    @property
    def demand(self) -> bool:
        """Whether a request waits for it, not only a preload."""
        return any(demand and not waiter.done() for waiter, demand in self.waiters.items())


class Lease:
    """A hold on a loaded model: while any is left, it is not evicted."""

    def __init__(self, resident: Resident, released: Callable[[Resident], None]) -> None:
        assert resident.encoder is not None
        self.name = resident.tag
        self.encoder = resident.encoder
        self._resident = resident
        self._released = released

    def hold(self) -> None:
        self._resident.leases += 1

    def release(self) -> None:
        self._released(self._resident)
