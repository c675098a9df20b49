"""What a load that nobody waits for may cost and how often it is wished for; pure."""

from collections.abc import Collection, Iterable

from embedwell.interfaces.caches import Admit, CacheState, Decision, Refuse, Wait, Wanted

RESIDENCY = 2.0  # times its own load seconds that a model counts as used of late
PRELOAD_PATIENCE = 60.0  # seconds that a preload waits
LATER = 30.0  # seconds after which a refused one may be tried again
WISH = 30.0  # seconds until a wish that came true is passed on again, once the model left
WISH_FAILED = 600.0  # seconds until one is that nothing came of


def modest(decision: Decision, wanted: Wanted, state: CacheState) -> Decision:
    """The decision, but a preload evicts nothing used of late, drains nobody, waits no longer."""
    if wanted.demand:
        return decision
    match decision:
        case Admit(evict=keys) if _recent(keys, state):
            return Refuse("only models in recent use could make room", LATER)
        case Wait(drain=(_, *_)):
            return Refuse("only busy models could make room", LATER)
        case Wait() if state.now - wanted.since >= PRELOAD_PATIENCE:
            return Refuse("no room came free for the preload", LATER)
    return decision


def _recent(keys: Collection[str], state: CacheState) -> bool:
    """A model of which no load was timed has no time of its own."""
    return any(
        state.now - entry.last_used < RESIDENCY * entry.load_seconds
        for entry in state.entries
        if entry.key in keys
    )


class Wishes:
    """Which of a strategy's wishes are passed on: each is a task that somebody reads about."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}

    def due(
        self, tags: Iterable[str], loaded: Collection[str], coming: Collection[str], now: float
    ) -> list[str]:
        """Those that were not passed on of late, nor are loaded or on their way."""
        self._until = {
            tag: min(until, now + WISH) if tag in loaded else until
            for tag, until in self._until.items()
            if now < until
        }
        found = [
            tag
            for tag in dict.fromkeys(tags)
            if tag not in self._until and tag not in loaded and tag not in coming
        ]
        self._until |= dict.fromkeys(found, now + WISH_FAILED)
        return found
