"""Which models leave for one that is wanted: a pure choice."""

from collections.abc import Callable, Sequence

from embedwell import CacheState, Entry, Wanted


def victims(
    candidates: Sequence[Entry],
    wanted: Wanted,
    state: CacheState,
    value: Callable[[Entry], float],
) -> tuple[str, ...] | None:
    """Keys of those whose leaving makes room, least worth a byte first.

    Empty where it fits already, None where all of them are not enough. Whoever is not needed
    beside the others stays, the most worth a byte first. Who drains already is first to leave,
    or two busy models could take turns at draining and neither come free.
    """

    def fits(leaving: Sequence[str]) -> bool:
        return state.free_with(wanted.need, frozenset(leaving)) >= 0

    def worth(entry: Entry) -> tuple[bool, float, float, str]:
        density = value(entry) / max(1, entry.need.weights)
        return entry.state != "draining", density, entry.last_used, entry.key

    leaving: list[str] = []
    for entry in sorted(candidates, key=worth):
        if fits(leaving):
            break
        leaving.append(entry.key)
    return tuple(_pruned(leaving, fits)) if fits(leaving) else None


def _pruned(leaving: list[str], fits: Callable[[Sequence[str]], bool]) -> list[str]:
    """What is left when none can stay."""
    for key in reversed(leaving):
        others = [other for other in leaving if other != key]
        if fits(others):
            leaving = others
    return leaving
