"""Batches to what a model reads: one row end to end, or a rectangle with a mask.

Sequences are sorted by length first, so that equal lengths lie side by side and attention and
pooling treat each such run as one rectangle without any padding.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate, groupby, pairwise
from typing import NamedTuple, TypeAlias

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from embedwell.interfaces.encoders import Batch

Ids: TypeAlias = NDArray[np.int64]
# Rows of a product are a multiple of this: oneDNN makes its code by the exact number. For any other
# that takes longer than a forward pass, and the code is slower and larger.
TILE = 16
STEPS = 16  # sizes from one power of two to the next


class Run(NamedTuple):
    """`texts` sequences of one `length`, side by side from token (or row) `start` on."""

    start: int
    texts: int
    length: int


class Group(Struct, frozen=True):
    """Sequences that run together, shortest first: `ids` end to end, int64."""

    ids: Ids
    lengths: tuple[int, ...]
    skips: tuple[int, ...]

    @property
    def runs(self) -> tuple[Run, ...]:
        """Equal lengths, by the token they start at."""
        starts = accumulate(self.lengths, initial=0)
        sizes = [(length, len(list(same))) for length, same in groupby(self.lengths)]
        firsts = accumulate((count for _, count in sizes), initial=0)
        offsets = list(starts)
        return tuple(
            Run(offsets[first], count, length)
            for first, (length, count) in zip(firsts, sizes, strict=False)
        )


def check(batch: Batch, vocabulary: int, longest: int | None) -> Ids:
    """The batch's ids as int64; ValueError for a batch that must not reach a model."""
    ids = np.frombuffer(batch.ids, dtype="<i4").astype(np.int64)
    if not batch.lengths or min(batch.lengths) < 1 or sum(batch.lengths) != len(ids):
        raise ValueError("a batch's lengths do not add up to its ids")
    if len(batch.skips) != len(batch.lengths) or min(batch.skips) < 0:
        raise ValueError("a batch needs one skip, not negative, for each sequence")
    if int(ids.min()) < 0 or int(ids.max()) >= vocabulary:
        raise ValueError(f"a token id is outside the vocabulary of {vocabulary} tokens")
    if longest is not None and max(batch.lengths) > longest:
        raise ValueError(f"a sequence is longer than the {longest} positions of the model")
    return ids


def order(batch: Batch) -> list[int]:
    """The batch's indices, shortest sequence first, equal skips together."""
    return sorted(range(len(batch.lengths)), key=lambda i: (batch.lengths[i], batch.skips[i]))


def groups(batch: Batch, ids: Ids, indices: Sequence[int], ends: Sequence[int]) -> Iterator[Group]:
    """The batch in the order of `indices`, cut before each place in `ends`, the last its end."""
    starts = list(accumulate(batch.lengths, initial=0))
    for first, end in pairwise((0, *ends)):
        chosen = indices[first:end]
        yield Group(
            np.concatenate([ids[starts[i] : starts[i + 1]] for i in chosen]),
            tuple(batch.lengths[i] for i in chosen),
            tuple(batch.skips[i] for i in chosen),
        )


def cuts(lengths: Sequence[int], limit: int, packed: bool) -> list[int]:
    """Where to cut ascending `lengths` so that each part costs at most `limit`, or is one alone.

    A packed part costs the sum of its lengths, a padded one its longest times their number.
    """
    ends: list[int] = []
    count = cost = 0
    for place, length in enumerate(lengths):
        cost = cost + length if packed else (count + 1) * length
        count += 1
        if cost > limit and count > 1:
            ends.append(place)
            count, cost = 1, length
    return [*ends, len(lengths)]


def tail(tokens: int, steps: int = STEPS) -> int:
    """How many tokens are missing to the next size of a product.

    Sizes are multiples of TILE, at most `steps` (a power of two) from one power of two to the next:
    each is code that oneDNN keeps, and that takes time to make.
    """
    return -tokens % max(TILE, (1 << (tokens - 1).bit_length()) // (2 * steps))


def positions(group: Group, padding: int | None) -> Ids:
    """Each token's place in its own sequence, from 0.

    With a `padding` id, as RoBERTa counts: from padding + 1, and padding tokens stay at padding.
    """
    lengths = np.array(group.lengths, dtype=np.int64)
    starts = np.repeat(np.cumsum(lengths) - lengths, lengths)
    places: Ids = np.arange(len(group.ids), dtype=np.int64) - starts
    if padding is None:
        return places
    real = (group.ids != padding).astype(np.int64)
    before = np.concatenate(([0], np.cumsum(real)))
    places = (before[1:] - before[starts]) * real
    return places + padding


def table(rows: Sequence[tuple[int, ...]], width: int) -> Ids:
    """`[n, width]`, also of no rows."""
    return np.array(rows, dtype=np.int64).reshape(-1, width)


def rectangle(group: Group, fill: int, longest: int | None) -> tuple[Ids, Ids]:
    """Ids and mask `[n, width]`, padded on the right with `fill`.

    The width is the longest text's, and where there are several a multiple of TILE, unless that
    is beyond the model's `longest`: what one text alone gives may depend on its row's width.
    """
    width = max(group.lengths)
    more = tail(width) if len(group.lengths) > 1 else 0
    if longest is None or width + more <= longest:
        width += more
    mask = (np.arange(width) < np.array(group.lengths)[:, None]).astype(np.int64)
    ids = np.full_like(mask, fill)
    ids[mask == 1] = group.ids
    return ids, mask
