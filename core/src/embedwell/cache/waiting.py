"""Who is asked for next, as a pure choice."""

from collections.abc import Iterable

from embedwell.interfaces.caches import Wanted


def next_up(waiting: Iterable[Wanted], now: float, patience: float) -> tuple[Wanted, ...]:
    """Oldest first, demand before preloads; once the oldest has waited `patience` seconds, only it.

    Without the second half a stream of small models would keep a large one waiting for ever.
    """
    order = sorted(waiting, key=lambda wanted: (not wanted.demand, wanted.since))
    if order and order[0].demand and now - order[0].since >= patience:
        return (order[0],)
    return tuple(order)
