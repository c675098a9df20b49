"""As many models as fit: those that are cheapest to bring back leave first."""

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta, Struct

from embedwell import Admit, CacheState, Decision, Entry, Refuse, Review, Wait, Wanted
from embedwell_cache_vram.value import one_request, reload_seconds, value
from embedwell_cache_vram.victims import victims

SOONEST = 0.01  # seconds until the strategy is asked again: rounding must not repeat a question
LATER = 30.0  # seconds after which a refused preload may be tried again


class Config(Struct, frozen=True, forbid_unknown_fields=True):
    """`[cache.vram_aware]`."""

    half_life_seconds: Annotated[float, Meta(ge=1, le=31_536_000)] = 600
    min_residency_factor: Annotated[float, Meta(ge=0, le=1_000)] = 2.0


class VramAware:
    """Decayed rate × reload seconds is what an eviction costs; bytes are what it brings.

    `half_life` is that of the rates that the cache counts, in seconds.
    """

    def __init__(self, config: Config) -> None:
        self.half_life = config.half_life_seconds
        self._factor = config.min_residency_factor

    def decide(self, wanted: Wanted, state: CacheState) -> Decision:
        """Idle models go at once; busy ones are drained once they had their time.

        An idle model's own residency does not protect it: sparing what came last costs more
        reloads than it saves, for that is mostly what is seldom asked for.
        """
        if _memory_returns(wanted, state):
            return Wait("memory is on its way back")
        if not wanted.demand:
            return self._preload(wanted, state)
        idle = [entry for entry in state.entries if entry.evictable]
        leaving = self._victims(idle, wanted, state)
        if leaving is not None:
            return Admit(leaving)
        return self._drain(idle, wanted, state)

    def review(self, state: CacheState) -> Review:
        """Nothing leaves unasked: memory that nobody wants costs nothing."""
        return Review()

    def _victims(
        self, candidates: Sequence[Entry], wanted: Wanted, state: CacheState
    ) -> tuple[str, ...] | None:
        return victims(candidates, wanted, state, lambda e: value(e, state.now, self.half_life))

    def _drain(self, idle: list[Entry], wanted: Wanted, state: CacheState) -> Decision:
        """Serves what is queued for the busy models before their place is taken."""
        loaded = [e for e in state.entries if e.state in ("ready", "draining")]
        busy = [entry for entry in loaded if entry.leases and not entry.pinned]
        ripe = [entry for entry in busy if self._due(entry) <= state.now]
        leaving = self._victims([*idle, *ripe], wanted, state)
        if leaving is not None:
            return Wait("busy models are drained", drain=leaving)
        leaving = self._victims([*idle, *busy], wanted, state)
        if leaving is None:
            return _no_room(state)
        due = max(self._due(entry) for entry in busy if entry.key in leaving)
        return Wait("busy models had too little time yet", until=max(due, state.now + SOONEST))

    def _preload(self, wanted: Wanted, state: CacheState) -> Decision:
        """Takes the place of what is worth less than one request for it; drains nobody.

        Preloads of a long list must not displace each other, hence the half-life without use.
        """
        old = [e for e in state.entries if e.evictable and self._forsaken(e) <= state.now]
        leaving = self._victims(old, wanted, state)
        if leaving is None:
            return Refuse("only models in recent use could make room", retry_after=LATER)
        lost = [e for e in state.entries if e.key in leaving]
        gain = one_request(self.half_life) * reload_seconds(wanted.need, 0.0)
        if sum(value(e, state.now, self.half_life) for e in lost) > gain:
            return Refuse("what is loaded is used more", retry_after=LATER)
        return Admit(leaving)

    def _due(self, entry: Entry) -> float:
        """Since when a busy model may be drained."""
        return entry.loaded_at + self._factor * entry.load_seconds

    def _forsaken(self, entry: Entry) -> float:
        """Since when a preload may take an idle model's place."""
        unused = max(self._factor * entry.load_seconds, self.half_life)
        return max(entry.last_used, entry.loaded_at) + unused


def _memory_returns(wanted: Wanted, state: CacheState) -> bool:
    """Whether what already leaves is enough, and needed."""
    going = frozenset(entry.key for entry in state.entries if entry.state == "unloading")
    return state.free_with(wanted.need) < 0 <= state.free_with(wanted.need, going)


def _no_room(state: CacheState) -> Wait | Refuse:
    if any(entry.state in ("loading", "unloading") for entry in state.entries):
        return Wait("another model is on its way")
    return Refuse("pinned models leave no room", retry_after=LATER)
