"""Attention over many short texts of different lengths: a few products for all of them.

Texts whose lengths are close share a rectangle, so that a handful of batched products replaces a
call a text. Rectangles come in few sizes: the code of a product is made for its exact shape, which
takes longer than to run it. Only the value rows know which places are real: they carry a 1 beside
the value, and padded places are all zero, so that one product gives both the weighted sum and its
divisor.
"""

import logging
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from embedwell.engine.packing import Run

log = logging.getLogger(__name__)
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

    For `heads` query heads and `shared` key and value heads; `tokens` rows, texts ascending. `tail`
    rows more come out at the end, which mean nothing.
    """

    def __init__(self, runs: Sequence[Run], heads: int, shared: int, tail: int = 0) -> None:
        self.rectangles: list[Rectangle] = []
        queries, keys, values, back = [], [], [], []
        own = np.arange(heads)
        place = 0
        for lengths, starts, longest in _similar(runs, heads):
            texts = len(lengths)
            real = np.arange(longest) < lengths[:, None]
            last = np.maximum(lengths[:, None] - 1, 0)
            token = starts[:, None] + np.minimum(np.arange(longest), last)
            queries.append(_rows(token, own, heads))
            keys.append(_rows(token, own * shared // heads, shared))
            values.append(np.where(np.repeat(real, heads, 0).ravel(), keys[-1], -1))
            where = place + np.arange(texts * heads * longest).reshape(texts, heads, longest)
            back.append(where.transpose(0, 2, 1)[real].ravel())
            self.rectangles.append(Rectangle(place, texts * heads, longest))
            place += texts * heads * longest
        self.tokens = sum(run.texts * run.length for run in runs)
        back.append(np.zeros(tail * heads, np.int64))
        self.queries, self.keys, self.back = map(_index, (queries, keys, back))
        self.values = _index(values)
        self.values[self.values < 0] = self.tokens * shared  # a row of zeros after the last


def _similar(
    runs: Sequence[Run], heads: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], int]]:
    """Lengths and first tokens of texts that share a rectangle, filled up with empty texts."""
    lengths = np.repeat([run.length for run in runs], [run.texts for run in runs])
    starts = np.cumsum(lengths) - lengths + runs[0].start
    widths = [_width(int(length)) for length in lengths]
    first = 0
    while first < len(lengths):
        width = widths[first]
        end = min(bisect_right(widths, width), first + _most(width, heads))
        empty = _texts(end - first) - (end - first)
        yield np.pad(lengths[first:end], (0, empty)), np.pad(starts[first:end], (0, empty)), width
        first = end


def _width(length: int) -> int:
    """The places of a rectangle for a text: eight steps from one power of two to the next."""
    step = max(8, 1 << (length - 1).bit_length() >> 3)
    return -(-length // step) * step


def _texts(count: int) -> int:
    """The texts of a rectangle for so many: 1, 2, 3, 4, 6, 8, 12, 16, 24 …"""
    step = max(1, 1 << (count - 1).bit_length() >> 2)
    return -(-count // step) * step


def _most(width: int, heads: int) -> int:
    """The most texts of a rectangle, a power of two."""
    return 1 << max(1, LARGEST // (heads * width * width)).bit_length() - 1


def _rows(token: NDArray[np.int64], head: NDArray[np.int64], heads: int) -> NDArray[np.int64]:
    """Of `[texts, length]` tokens, each head's rows: text by text, head by head."""
    rows: NDArray[np.int64] = token[:, None, :] * heads + head[:, None]
    return rows.ravel()


def _index(parts: Sequence[NDArray[np.int64]]) -> Tensor:
    return torch.from_numpy(np.concatenate(parts))


def attend(layout: Layout, scale: float, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """`[tokens, heads, width]` each, key and value with their own heads; returns the query's shape
    and the layout's tail.

    Every text attends to itself, in both directions.
    """
    found = program()(
        layout.rectangles,
        scale,
        (
            query.reshape(-1, query.shape[-1]).index_select(0, layout.queries),
            key.reshape(-1, key.shape[-1]).index_select(0, layout.keys),
            _counted(value).index_select(0, layout.values),
        ),
        layout.back,
    )
    return found.view(-1, query.shape[1], value.shape[-1])


@cache
def program() -> Callable[..., Tensor]:
    """The products, run by torch without Python, whose lock the parts of a batch wait for.

    Where torch does not translate them (it no longer does for Python 3.14) it is Python itself.
    """
    try:
        translated: Callable[..., Tensor] = torch.jit.script(_attended)
    except Exception as error:
        log.info("attention runs in Python (%s)", type(error).__name__)
        return _attended
    return translated


def _attended(
    rectangles: list[tuple[int, int, int]],
    scale: float,
    gathered: tuple[Tensor, Tensor, Tensor],
    back: Tensor,
) -> Tensor:
    queries, keys, values = gathered
    width = values.shape[-1] - 1
    summed = values.new_empty([len(queries), width + 1])
    for start, blocks, length in rectangles:
        end = start + blocks * length
        weights = _weights(
            queries[start:end].view(blocks, length, -1),
            keys[start:end].view(blocks, length, -1),
            scale,
        )
        torch.bmm(
            weights,
            values[start:end].view(blocks, length, -1),
            out=summed[start:end].view(blocks, length, -1),
        )
    found = summed.index_select(0, back)
    return found[:, :width] / found[:, width:]


def _weights(query: Tensor, key: Tensor, scale: float, safe: float = SAFE) -> Tensor:
    """Neither normalised nor zero in padded places: the product that follows sees to both.

    Without subtracting each row's largest score, which costs more than all the rest, unless the
    scores are so far from 0 that it is needed: then they are made anew, with all their digits.
    """
    scores = torch.baddbmm(query.new_zeros([]), query, key.transpose(1, 2), beta=0, alpha=scale)
    least, most = scores.aminmax()
    if float(least) > -safe and float(most) < safe:
        return scores.exp_()
    scores = torch.matmul(query.float(), key.float().transpose(1, 2)) * scale
    return torch.softmax(scores, -1).to(query.dtype)


def _counted(value: Tensor) -> Tensor:
    """Value rows with a 1 at their end, and one row of zeros after the last."""
    tokens, heads, width = value.shape
    counted = value.new_zeros(tokens + 1, heads, width + 1)
    counted[:tokens, :, :width] = value
    counted[:tokens, :, width] = 1
    return counted.view(-1, width + 1)
