"""One model in the cache: its state, who waits for it, who holds it."""

import asyncio
import copy
from collections.abc import Callable
from typing import Literal

from embedwell.cache.states import LOADED, State, step
from embedwell.cache.usage import Usage
from embedwell.errors import EmbedwellError
from embedwell.interfaces.caches import Entry, Need, Wanted
from embedwell.interfaces.encoders import Encoder
from embedwell.interfaces.models import Snapshot


class Resident:
    """Mutable, on the loop only; the cache alone changes it."""

    def __init__(self, key: str, snapshot: Snapshot, now: float) -> None:
        self.key = key
        self.snapshot = snapshot
        self.state = State.ABSENT
        self.need = Need(0, 0)
        self.encoder: Encoder | None = None
        self.leases = 0
        self.since = now
        self.last_used = now
        self.loaded_at = now
        self.load_seconds = 0.0
        self.usage = Usage()
        self.demand = False
        self.waiters: list[asyncio.Future[None]] = []
        self.admitted: asyncio.Future[None] | None = None
        self.error: EmbedwellError | None = None
        self.failures = 0
        self.until = 0.0

    @property
    def tag(self) -> str:
        return self.snapshot.key.name

    def become(self, state: State) -> None:
        self.state = step(self.state, state)

    def touch(self, now: float) -> None:
        self.last_used = now
        self.usage = self.usage.touched(now)

    def entry(self, now: float) -> Entry:
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
            rate=self.usage.faded(now),
            load_seconds=self.load_seconds,
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
                waiter.set_exception(copy.copy(error))
        self.waiters.clear()

    @property
    def evictable(self) -> bool:
        return self.entry(self.last_used).evictable

    def afresh(self, now: float) -> "Resident":
        """The same model's next life, with those who wait for it."""
        fresh = Resident(self.key, self.snapshot, now)
        fresh.waiters, self.waiters = self.waiters, []
        fresh.demand, fresh.usage = True, self.usage
        return fresh

    @property
    def awaited(self) -> bool:
        return any(not waiter.done() for waiter in self.waiters)


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
