"""Attention over many short texts of different lengths: a few products for all of them.

Texts whose lengths are close share a rectangle, so that a handful of batched products replaces a
call a text. Only the value rows know which places are real: they carry a 1 beside the value, and
padded places are all zero, so that one product gives both the weighted sum and its divisor.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from embedwell.engine.packing import Run

STRETCH = 1.25  # the longest text of a rectangle against its shortest
SAFE = 60.0  # scores whose exponentials, and sums of them, float32 and bfloat16 can both hold
LARGEST = 1 << 20  # scores of one product: they stay in the processor's cache
LONGEST = 1024  # tokens of a text: with more, keeping all scores gains nothing and takes memory


class Rectangle(NamedTuple):
    """`texts` × heads blocks of `length` places, from row `start` of what was gathered."""

    start: int
    texts: int
    length: int


class Layout:
    """Where each place of the rectangles comes from, and where each token's row went.

    For `heads` query heads and `shared` key and value heads; `tokens` rows, texts ascending.
    """

    def __init__(self, runs: Sequence[Run], heads: int, shared: int) -> None:
        self.rectangles: list[Rectangle] = []
        queries, keys, values, back = [], [], [], []
        own = np.arange(heads)
        place = 0
        for lengths, starts in _similar(runs, heads):
            texts, longest = len(lengths), int(lengths[-1])
            real = np.arange(longest) < lengths[:, None]
            token = starts[:, None] + np.minimum(np.arange(longest), lengths[:, None] - 1)
            queries.append(_rows(token, own, heads))
            keys.append(_rows(token, own * shared // heads, shared))
            values.append(np.where(np.repeat(real, heads, 0).ravel(), keys[-1], -1))
            where = place + np.arange(texts * heads * longest).reshape(texts, heads, longest)
            back.append(where.transpose(0, 2, 1)[real].ravel())
            self.rectangles.append(Rectangle(place, texts * heads, longest))
            place += texts * heads * longest
        self.tokens = sum(run.texts * run.length for run in runs)
        self.queries, self.keys, self.back = map(_index, (queries, keys, back))
        self.values = _index(values)
        self.values[self.values < 0] = self.tokens * shared  # a row of zeros after the last


def _similar(
    runs: Sequence[Run], heads: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Lengths and first tokens of texts that share a rectangle."""
    lengths = np.repeat([run.length for run in runs], [run.texts for run in runs])
    starts = np.cumsum(lengths) - lengths + runs[0].start
    first = 0
    for end in range(1, len(lengths) + 1):
        if end < len(lengths):
            scores = (end + 1 - first) * heads * lengths[end] ** 2
            if lengths[end] <= lengths[first] * STRETCH and scores <= LARGEST:
                continue
        yield lengths[first:end], starts[first:end]
        first = end


def _rows(token: NDArray[np.int64], head: NDArray[np.int64], heads: int) -> NDArray[np.int64]:
    """Of `[texts, length]` tokens, each head's rows: text by text, head by head."""
    rows: NDArray[np.int64] = token[:, None, :] * heads + head[:, None]
    return rows.ravel()


def _index(parts: Sequence[NDArray[np.int64]]) -> Tensor:
    return torch.from_numpy(np.concatenate(parts))


def attend(layout: Layout, scale: float, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """`[tokens, heads, width]` each, key and value with their own heads; returns the query's shape.

    Every text attends to itself, in both directions.
    """
    width = query.shape[-1]
    queries = query.reshape(-1, width).index_select(0, layout.queries)
    keys = key.reshape(-1, width).index_select(0, layout.keys)
    values = _counted(value).index_select(0, layout.values)
    summed = values.new_empty(len(queries), values.shape[-1])
    for start, blocks, length in layout.rectangles:
        rows = slice(start, start + blocks * length)
        q, k, v, out = (
            part[rows].view(blocks, length, -1) for part in (queries, keys, values, summed)
        )
        torch.bmm(_weights(q, k, scale), v, out=out)
    found = summed.index_select(0, layout.back)
    return (found[:, : value.shape[-1]] / found[:, value.shape[-1] :]).view(
        query.shape[0], query.shape[1], -1
    )


def _weights(query: Tensor, key: Tensor, scale: float) -> Tensor:
    """Neither normalised nor zero in padded places: the product that follows sees to both.

    Without subtracting each row's largest score, which costs more than all the rest, unless the
    scores are so far from 0 that it is needed: then they are made anew, with all their digits.
    """
    scores = torch.baddbmm(query.new_zeros(()), query, key.transpose(1, 2), beta=0, alpha=scale)
    least, most = scores.aminmax()
    if float(least) > -SAFE and float(most) < SAFE:
        return scores.exp_()
    scores = query.float() @ key.float().transpose(1, 2) * scale
    return torch.softmax(scores, -1).to(query.dtype)


def _counted(value: Tensor) -> Tensor:
    """Value rows with a 1 at their end, and one row of zeros after the last."""
    tokens, heads, width = value.shape
    counted = value.new_zeros(tokens + 1, heads, width + 1)
    counted[:tokens, :, :width] = value
    counted[:tokens, :, width] = 1
    return counted.view(-1, width + 1)
