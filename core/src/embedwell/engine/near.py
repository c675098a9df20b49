"""Attention of many short texts: a few batched products for all of them, as `short.py` lays out.

TorchScript, see `products.py`.
"""

from typing import TypeAlias

import torch
from torch import Tensor

# Rectangles `[n, 3]`: start, blocks, length; for each of their places the row of queries, keys and
# values; and for each head of each token its place.
Near: TypeAlias = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]
SAFE = 1e26  # a sum of weights up to it, and down to 1 / SAFE, keeps its digits in bfloat16 as well


def near(
    row: tuple[Tensor, Tensor, Tensor],
    places: tuple[Tensor, Tensor, Tensor, Tensor, Tensor],
    scale: float,
    safe: float = SAFE,
) -> Tensor:
    """`[tokens, heads, width]` of the texts laid out, in their order.

    `row` is query, key and value as `products.attended` takes them, `scale` what scores are
    multiplied by; TorchScript knows SAFE as a default only. Each row's largest score is not
    subtracted from it first, which costs more than all the rest, unless scores are so far from 0
    that it is needed: then all is made anew, with all its digits.
    """
    rectangles, queries, keys, values, back = places
    query, key, value = row
    gathered = (
        query.reshape(-1, query.shape[2]).index_select(0, queries),
        key.reshape(-1, key.shape[2]).index_select(0, keys),
        _counted(value).index_select(0, values),
    )
    width = value.shape[2]
    found = _together(gathered, rectangles, scale, False).index_select(0, back)
    least, most = found[:, width].aminmax()
    if not (float(least) > 1 / safe and float(most) < safe):
        found = _together(gathered, rectangles, scale, True).index_select(0, back)
    return (found[:, :width] / found[:, width:]).view(-1, query.shape[1], width)


def _together(
    gathered: tuple[Tensor, Tensor, Tensor], rectangles: Tensor, scale: float, careful: bool
) -> Tensor:
    """Weighted sums of value rows, each beside the sum of its weights.

    Padded places have weights, too; their value rows, the 1 included, are zero, so that they add to
    neither sum.
    """
    queries, keys, values = gathered
    width = values.shape[1]
    summed = values.new_empty([len(queries), width])
    nothing = queries.new_zeros([])
    sizes: list[list[int]] = rectangles.tolist()
    for start, blocks, length in sizes:
        end = start + blocks * length
        query = queries[start:end].view(blocks, length, -1)
        key = keys[start:end].view(blocks, length, -1).transpose(1, 2)
        if careful:
            scores = torch.matmul(query.float(), key.float()) * scale
            weights = torch.softmax(scores, -1).to(query.dtype)
        else:
            weights = torch.baddbmm(nothing, query, key, beta=0, alpha=scale).exp_()
        own = values[start:end].view(blocks, length, width)
        torch.bmm(weights, own, out=summed[start:end].view(blocks, length, width))
    return summed


def _counted(value: Tensor) -> Tensor:
    """A row of zeros, then the value rows with a 1 at their end."""
    tokens, heads, width = value.shape
    counted = value.new_zeros([tokens + 1, heads, width + 1])
    counted[1:, :, :width] = value
    counted[1:, :, width] = 1
    return counted.view(-1, width + 1)
