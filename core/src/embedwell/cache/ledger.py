"""Bytes, as pure arithmetic: what models hold, and what they may."""

from collections.abc import Iterable

from embedwell.interfaces.caches import Need
from embedwell.interfaces.encoders import Memory


def held(needs: Iterable[Need]) -> int:
    """Bytes that loaded weights take."""
    return sum(need.weights for need in needs)


def others(memory: Memory, held_by_us: int) -> int:
    """Bytes that somebody else takes; measure it when no load is under way."""
    return max(0, memory.total - memory.free - held_by_us)


def budget(memory: Memory, taken_by_others: int, safety: int) -> int:
    """Bytes that models may take, weights and the largest peak together."""
    return max(0, memory.total - taken_by_others - safety)


def exceeds(measured: Need, reserved: Need) -> bool:
    """Whether a load took more than was set aside for it."""
    return measured.weights > reserved.weights or measured.peak > reserved.peak
