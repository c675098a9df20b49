"""What a load that nobody waits for may cost, whatever the strategy says; pure."""

from collections.abc import Collection

from embedwell.interfaces.caches import Admit, CacheState, Decision, Refuse, Wait, Wanted

RESIDENCY = 2.0  # times its own load seconds that a model counts as used of late
PATIENCE = 60.0  # seconds that a preload waits
LATER = 30.0  # seconds after which a refused one may be tried again


def modest(decision: Decision, wanted: Wanted, state: CacheState) -> Decision:
    """The decision, but a preload evicts nothing used of late, drains nobody, waits no longer."""
    if wanted.demand:
        return decision
    match decision:
        case Admit(evict=keys) if _recent(keys, state):
            return Refuse("only models in recent use could make room", LATER)
        case Wait(drain=(_, *_)):
            return Refuse("only busy models could make room", LATER)
        case Wait() if state.now - wanted.since >= PATIENCE:
            return Refuse("no room came free for the preload", LATER)
    return decision


def _recent(keys: Collection[str], state: CacheState) -> bool:
    """A model of which no load was timed has no time of its own."""
    return any(
        state.now - entry.last_used < RESIDENCY * entry.load_seconds
        for entry in state.entries
        if entry.key in keys
    )
