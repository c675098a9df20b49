"""The model cache's questions and a strategy's answers; all pure values.

Times named `now`, `since`, `until`, `last_used`, `loaded_at` are seconds of one monotonic clock;
`wall` is Unix seconds. Sizes are bytes.
"""

from collections.abc import Callable
from typing import Generic, Literal, Protocol, TypeVar

from msgspec import Struct

C = TypeVar("C", bound=Struct)


class Need(Struct, frozen=True):
    """What a model takes: weights of all models add up, of peaks only the largest counts."""

    weights: int
    peak: int


class Estimate(Struct, frozen=True):
    """What a load will take: memory, and seconds where an earlier load was measured."""

    need: Need
    seconds: float = 0.0


class Entry(Struct, frozen=True, kw_only=True):
    """A model that holds memory, or is about to.

    `rate` is requests a second, decayed. A strategy may evict entries that are ready, without
    leases and not pinned; others it may only wish to drain.
    """

    key: str
    tag: str
    need: Need
    state: Literal["loading", "ready", "draining", "unloading"]
    leases: int
    last_used: float
    loaded_at: float
    rate: float = 0.0
    load_seconds: float = 0.0
    pinned: bool = False

    @property
    def evictable(self) -> bool:
        """Whether the cache would carry out an eviction now."""
        return self.state in ("ready", "draining") and self.leases == 0 and not self.pinned


class Wanted(Struct, frozen=True):
    """A model that somebody waits for; `demand` is false for a preload."""

    key: str
    tag: str
    need: Need
    since: float
    demand: bool = True


class CacheState(Struct, frozen=True):
    """One device's memory; `budget` is what models may take, net of the safety margin."""

    budget: int
    entries: tuple[Entry, ...]
    waiting: tuple[Wanted, ...]
    now: float
    wall: float

    def free_with(self, wanted: Need, without: frozenset[str] = frozenset()) -> int:
        """Bytes left over if `wanted` came and the keys in `without` went; negative: too few."""
        staying = [e.need for e in self.entries if e.key not in without]
        weights = sum(n.weights for n in staying) + wanted.weights
        return self.budget - weights - max([wanted.peak, *(n.peak for n in staying)])


class Admit(Struct, frozen=True, tag=True):
    """Load it, once these are gone: the cache evicts, measures and asks again."""

    evict: tuple[str, ...] = ()


class Wait(Struct, frozen=True, tag=True):
    """Not now: models in `drain` take no new leases; asked again on any change, and at `until`."""

    reason: str
    drain: tuple[str, ...] = ()
    until: float | None = None


class Refuse(Struct, frozen=True, tag=True):
    """Not at all: with `retry_after` (seconds) later, without it never."""

    reason: str
    retry_after: float | None = None


class Review(Struct, frozen=True):
    """Unasked-for changes: keys to evict, tags to load, and when to be asked again."""

    evict: tuple[str, ...] = ()
    load: tuple[str, ...] = ()
    until: float | None = None


Decision = Admit | Wait | Refuse


class CacheStrategy(Protocol):
    """Decides about memory and nothing else: no clock, thread, event loop or device.

    An optional attribute `half_life` (seconds, default 600) is that of the rates in `Entry`.
    """

    def decide(self, wanted: Wanted, state: CacheState) -> Decision: ...

    def review(self, state: CacheState) -> Review: ...


class CacheSpec(Struct, Generic[C], frozen=True, kw_only=True):
    """What `register_caches` returns."""

    name: str
    summary: str
    config: type[C]
    build: Callable[[C], CacheStrategy]
