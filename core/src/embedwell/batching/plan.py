"""What runs next, as a pure choice over token counts: costs, budgets, fair shares, halves."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

T = TypeVar("T")


class Limits(Struct, frozen=True):
    """What one batch of a model may cost.

    `packed`: a batch costs the sum of its tokens; otherwise longest × count. `single`: one
    sequence a batch, always.
    """

    budget: int
    packed: bool = True
    single: bool = False


def cost(lengths: Sequence[int], limits: Limits) -> int:
    """Tokens that the device computes for these sequences, padding included."""
    if limits.packed:
        return sum(lengths)
    return max(lengths, default=0) * len(lengths)


def shared(waiting: int, limits: Limits, threads: int, least: int) -> Limits:
    """Limits of a batch that leaves as much of the `waiting` tokens to each other of the `threads`.

    Not less than `least`, for small batches cost more a token.
    """
    return replace(limits, budget=min(limits.budget, max(least, -(-waiting // threads))))


def fill(requests: Sequence[Sequence[int]], limits: Limits, oldest: int = 0) -> list[int]:
    """How many sequences each request gives to the next batch.

    `requests` hold the lengths still to run, each in the order to be taken. Half of the budget is
    for the `oldest`, or under load all would end late together; the rest goes round, one sequence
    a turn. The very first always goes, so that no legal sequence is too long: the sum of the
    answer is ≥ 1 when any request has work.
    """
    tray = _Tray(requests, limits)
    while tray.left(oldest) and tray.take(oldest, limits.budget // 2):
        pass
    turn = [i for i in range(len(requests)) if tray.left(i)]
    while turn and all(tray.take(i, limits.budget) for i in turn):
        turn = [i for i in turn if tray.left(i)]
    return tray.taken


def reach(firsts: Iterable[int], budget: int) -> int:
    """How many requests, from the front, one round of a batch could get to.

    `firsts` are the lengths of their next sequences.
    """
    total = count = 0
    for length in firsts:
        total, count = total + length, count + 1
        if total > budget:
            break
    return count


class _Tray:
    """A batch as it fills."""

    def __init__(self, requests: Sequence[Sequence[int]], limits: Limits) -> None:
        self.taken = [0] * len(requests)
        self._requests = requests
        self._limits = limits
        self._sum = self._longest = self._count = 0

    def left(self, i: int) -> bool:
        return self.taken[i] < len(self._requests[i])

    def take(self, i: int, budget: int) -> bool:
        """Whether the next sequence of request `i` went in."""
        length = self._requests[i][self.taken[i]]
        longest, count = max(self._longest, length), self._count + 1
        total = self._sum + length if self._limits.packed else longest * count
        if self._count and (self._limits.single or total > budget):
            return False
        self.taken[i] += 1
        self._sum, self._longest, self._count = self._sum + length, longest, count
        return True


def halves(items: Sequence[T]) -> tuple[Sequence[T], Sequence[T]]:
    """Two non-empty parts of at least two items."""
    middle = len(items) // 2
    return items[:middle], items[middle:]


def smaller(failed: int) -> int:
    """The budget after a batch of this cost ran out of memory."""
    return max(1, failed // 2)
