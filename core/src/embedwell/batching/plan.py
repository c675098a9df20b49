"""What runs next, as a pure choice over token counts: costs, budgets, fair shares, halves."""

from collections.abc import Sequence
from typing import TypeVar

from msgspec import Struct

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


def fill(requests: Sequence[Sequence[int]], limits: Limits) -> list[int]:
    """How many sequences each request gives to the next batch.

    `requests` hold the lengths still to run, each in the order to be taken. One sequence a turn,
    request after request, until the next would pass the budget; the very first always goes, so
    that no legal sequence is too long. The sum of the answer is ≥ 1 when any request has work.
    """
    taken = [0] * len(requests)
    spent = longest = count = 0
    turn = [i for i, lengths in enumerate(requests) if lengths]
    while turn:
        for i in turn:
            length = requests[i][taken[i]]
            total = spent + length if limits.packed else max(longest, length) * (count + 1)
            if count and (total > limits.budget or limits.single):
                return taken
            taken[i] += 1
            spent, longest, count = spent + length, max(longest, length), count + 1
        turn = [i for i in turn if taken[i] < len(requests[i])]
    return taken


def halves(items: Sequence[T]) -> tuple[Sequence[T], Sequence[T]]:
    """Two non-empty parts of at least two items."""
    middle = len(items) // 2
    return items[:middle], items[middle:]


def smaller(failed: int) -> int:
    """The budget after a batch of this cost ran out of memory."""
    return max(1, failed // 2)
