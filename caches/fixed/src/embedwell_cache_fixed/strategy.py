"""At most so many models; the least recently used goes first."""

from typing import Annotated

from msgspec import Meta, Struct

from embedwell import Admit, CacheState, Decision, Entry, Refuse, Review, Wait, Wanted

TENURE = (
    2.0  # times its own load seconds: a busy model is not drained, nor an idle one preloaded over
)
LATER = 30.0  # seconds after which a refused request may try again


class Config(Struct, frozen=True, forbid_unknown_fields=True):
    """`[cache.fixed_size]`."""

    max_models: Annotated[int, Meta(ge=1, le=10_000)] = 5


class FixedSize:
    """Least recently used models go until both the count and the bytes fit."""

    def __init__(self, config: Config) -> None:
        self._max_models = config.max_models

    def decide(self, wanted: Wanted, state: CacheState) -> Decision:
        """Idle models go at once; busy ones are drained once they had their time."""
        oldest_first = sorted(state.entries, key=lambda entry: entry.last_used)
        idle = [e for e in oldest_first if e.evictable and (wanted.demand or _unused(e, state.now))]
        victims = self._enough(idle, wanted, state)
        if victims is not None:
            return Admit(tuple(entry.key for entry in victims))
        busy = [e for e in oldest_first if _busy(e)]
        return self._after(self._enough([*idle, *busy], wanted, state), wanted, state)

    def review(self, state: CacheState) -> Review:
        """Nothing leaves unasked."""
        return Review()

    def _enough(
        self, candidates: list[Entry], wanted: Wanted, state: CacheState
    ) -> list[Entry] | None:
        """The first of these with which `wanted` fits, or None."""
        for count in range(len(candidates) + 1):
            gone = frozenset(entry.key for entry in candidates[:count])
            places = self._max_models - (len(state.entries) - count)
            if places > 0 and state.free_with(wanted.need, gone) >= 0:
                return candidates[:count]
        return None

    def _after(
        self, leaving: list[Entry] | None, wanted: Wanted, state: CacheState
    ) -> Wait | Refuse:
        if leaving is None and any(e.state in ("loading", "unloading") for e in state.entries):
            return Wait("another model is on its way")
        if not wanted.demand:
            return Refuse("only models in recent use could make room", LATER)
        if leaving is None:
            return Refuse("pinned models leave no room", LATER)
        until = max(e.loaded_at + TENURE * e.load_seconds for e in leaving if _busy(e))
        if until > state.now:
            return Wait("busy models had too little time yet", until=until)
        return Wait("busy models are drained", drain=tuple(entry.key for entry in leaving))


def _busy(entry: Entry) -> bool:
    return entry.state in ("ready", "draining") and entry.leases > 0 and not entry.pinned


def _unused(entry: Entry, now: float) -> bool:
    """Whether a preload may take its place."""
    return now - entry.last_used >= TENURE * entry.load_seconds
