"""Attention over many short texts of different lengths: a few products for all of them.

Texts whose lengths are close share a rectangle, so that a handful of batched products replaces a
call a text. Rectangles come in few sizes: the code of a product is made for its exact shape, which
takes longer than to run it. Only the value rows know which places are real: they carry a 1 beside
the value, and padded places are all zero, so that one product gives both the weighted sum and its
divisor.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from embedwell.engine.near import Near
from embedwell.engine.packing import Run, table

LARGEST = 1 << 20  # scores of one product: they stay in the processor's cache
# Beyond so many tokens of a text, and for fewer texts, torch's own attention is faster.
LONGEST = 128
FEWEST = 16


class Rectangle(NamedTuple):
    """Blocks, a head of a text each, of `length` places, from row `start` of what was gathered."""

    start: int
    blocks: int
    length: int


class Layout:
    """Where each place of the rectangles comes from, and where each token's row went.

    For `heads` query heads and `shared` key and value heads, texts ascending. Value rows stand
    after those of one token of zeros. `tail` rows more come out at the end, which mean nothing.
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
            values.append(np.where(np.repeat(real, heads, 0).ravel(), keys[-1] + shared, 0))
            where = place + np.arange(texts * heads * longest).reshape(texts, heads, longest)
            back.append(where.transpose(0, 2, 1)[real].ravel())
            self.rectangles.append(Rectangle(place, texts * heads, longest))
            place += texts * heads * longest
        back.append(np.zeros(tail * heads, np.int64))
        self.queries, self.keys = _index(queries), _index(keys)
        self.values, self.back = _index(values), _index(back)

    @property
    def near(self) -> Near:
        """For `products.attended`."""
        sizes = torch.from_numpy(table(self.rectangles, 3))
        return sizes, self.queries, self.keys, self.values, self.back


def _similar(
    runs: Sequence[Run], heads: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], int]]:
    """Lengths and first tokens of texts that share a rectangle, filled up with empty texts."""
    if not runs:
        return
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
    return torch.from_numpy(np.concatenate(parts or [np.zeros(0, np.int64)]))
