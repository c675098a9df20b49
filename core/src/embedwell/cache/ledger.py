"""Bytes, as pure arithmetic: what models hold, and what they may."""

from collections.abc import Iterable

from embedwell.interfaces.caches import CacheState, Need
from embedwell.interfaces.encoders import Memory


def held(needs: Iterable[Need]) -> int:
    """Bytes that loaded weights take."""
    return sum(need.weights for need in needs)


def reserved(needs: Iterable[Need]) -> int:
    """Bytes set aside: weights add up, of peaks the largest counts."""
    all_needs = list(needs)
    return held(all_needs) + max((need.peak for need in all_needs), default=0)


def others(memory: Memory, held_by_us: int) -> int:
    """Bytes that somebody else takes; measure it when no load is under way."""
    return max(0, memory.total - memory.free - held_by_us)


def budget(memory: Memory, taken_by_others: int, safety: int) -> int:
    """Bytes that models may take, weights and the largest peak together."""
    return max(0, memory.total - taken_by_others - safety)


def exceeds(measured: Need, reserved: Need) -> bool:
    """Whether a load took more than was set aside for it."""
    return measured.weights > reserved.weights or measured.peak > reserved.peak


def surplus(state: CacheState) -> tuple[str, ...]:
    """Keys of idle models that must go, least recently used first, until the rest fits.

    The peak of a leased model is no shortage: its batch may be running, and is measured then.
    """
    running = max((entry.need.peak for entry in state.entries if entry.leases), default=0)
    leaving: list[str] = []
    for entry in sorted(state.entries, key=lambda entry: entry.last_used):
        if state.free_with(Need(0, 0), frozenset(leaving)) + running >= 0:
            break
        if entry.evictable:
            leaving.append(entry.key)
    return tuple(leaving)
