"""Attention's products over a row of texts, run by torch without Python.

Other threads wait for Python's lock, and whoever gives it up between two operations waits for it
again: a forward pass has hundreds of them. TorchScript takes tuples, none that are named, and
constants as defaults.
"""

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from embedwell.engine.scripts import translated

# Rectangles `[n, 3]`: start, blocks, length; for each of their places the row of queries, keys and
# values; for each head of each token its place; and runs `[n, 3]`: start, texts, length.
Places: TypeAlias = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]
SAFE = 60.0  # scores whose exponentials, and sums of them, float32 and bfloat16 can both hold


def program() -> Callable[..., Tensor]:
    """`attended`, without Python where torch translates it."""
    return translated(attended)


def attended(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    seen: tuple[float, bool],
    places: tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor],
) -> Tensor:
    """`[T, heads, width]` from the same; key and value with their own heads.

    `seen` is what scores are multiplied by, and whether a token sees only those before it.
    Rows that belong to no text mean nothing.
    """
    rectangles, queries, keys, values, back, runs = places
    found: list[Tensor] = []
    if len(rectangles):
        gathered = (
            query.reshape(-1, query.shape[2]).index_select(0, queries),
            key.reshape(-1, key.shape[2]).index_select(0, keys),
            _counted(value).index_select(0, values),
        )
        near = _together(gathered, rectangles, seen[0]).index_select(0, back)
        width = value.shape[2]
        found.append((near[:, :width] / near[:, width:]).view(-1, query.shape[1], width))
    rows: list[list[int]] = runs.tolist()
    for start, texts, length in rows:
        found.append(_stock((query, key, value), (start, texts, length), seen))
    missing = len(query) - sum([len(part) for part in found])
    if missing:
        found.append(query.new_zeros([missing, query.shape[1], value.shape[2]]))
    return torch.cat(found)


def _stock(
    row: tuple[Tensor, Tensor, Tensor], run: tuple[int, int, int], seen: tuple[float, bool]
) -> Tensor:
    """torch's own attention over texts of one length."""
    query, key, value = row
    found = scaled_dot_product_attention(
        rectangle(query, run),
        rectangle(key, run),
        rectangle(value, run),
        is_causal=seen[1],
        scale=seen[0],
        enable_gqa=query.shape[1] != key.shape[1],
    )
    return found.transpose(1, 2).flatten(0, 1)


def rectangle(part: Tensor, run: tuple[int, int, int]) -> Tensor:
    """Texts of one length, `[n, heads, length, width]`; the run has start, texts, length."""
    start, texts, length = run
    tokens = part[start : start + texts * length]
    return tokens.reshape(texts, length, part.shape[1], part.shape[2]).transpose(1, 2)


def _together(gathered: tuple[Tensor, Tensor, Tensor], rectangles: Tensor, scale: float) -> Tensor:
    """Weighted sums of value rows, each beside the sum of its weights."""
    queries, keys, values = gathered
    width = values.shape[1]
    summed = values.new_empty([len(queries), width])
    sizes: list[list[int]] = rectangles.tolist()
    for start, blocks, length in sizes:
        end = start + blocks * length
        weights = _weights(
            queries[start:end].view(blocks, length, -1),
            keys[start:end].view(blocks, length, -1),
            scale,
        )
        own = values[start:end].view(blocks, length, width)
        torch.bmm(weights, own, out=summed[start:end].view(blocks, length, width))
    return summed


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
    """A row of zeros, then the value rows with a 1 at their end."""
    tokens, heads, width = value.shape
    counted = value.new_zeros([tokens + 1, heads, width + 1])
    counted[1:, :, :width] = value
    counted[1:, :, width] = 1
    return counted.view(-1, width + 1)
