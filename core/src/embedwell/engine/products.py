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
# values; and for each head of each token its place.
Near: TypeAlias = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]
# Rectangles `[n, 3]`: start, texts, length; for each of their places its token, none where they lie
# in the row itself; which places are real, none where that is no matter; and for each token its
# place.
Far: TypeAlias = tuple[Tensor, Tensor, Tensor, Tensor]
Places: TypeAlias = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]
SAFE = 1e26  # a sum of weights as large, or one through it, keeps its digits in bfloat16 as well


def program() -> Callable[..., Tensor]:
    """`attended`, without Python where torch translates it."""
    return translated(attended)


def attended(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    seen: tuple[float, bool],
    places: tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor],
) -> Tensor:
    """`[T, heads, width]` from the same; key and value with their own heads.

    `seen` is what scores are multiplied by, and whether a token sees only those before it. `places`
    are a Near and a Far, whose tokens come after. Rows that belong to no text mean nothing.
    """
    rectangles, queries, keys, values, back = places[:5]
    found: list[Tensor] = []
    if len(rectangles):
        found.append(_near((query, key, value), (rectangles, queries, keys, values, back), seen[0]))
    if len(places[5]):
        found.append(_far((query, key, value), places[5:], seen))
    missing = len(query) - sum([len(part) for part in found])
    if missing:
        found.append(query.new_zeros([missing, query.shape[1], value.shape[2]]))
    return found[0] if len(found) == 1 else torch.cat(found)


def _far(
    row: tuple[Tensor, Tensor, Tensor],
    places: tuple[Tensor, Tensor, Tensor, Tensor],
    seen: tuple[float, bool],
) -> Tensor:
    """torch's own attention."""
    rectangles, tokens, real, kept = places
    query, key, value = row
    if len(tokens):
        query, key, value = (
            query.index_select(0, tokens),
            key.index_select(0, tokens),
            value.index_select(0, tokens),
        )
    found: list[Tensor] = []
    rows: list[list[int]] = rectangles.tolist()
    for start, texts, length in rows:
        mask: Tensor | None = None
        if len(real):
            mask = real[start : start + texts * length].view(texts, 1, 1, length)
        part = scaled_dot_product_attention(
            rectangle(query, (start, texts, length)),
            rectangle(key, (start, texts, length)),
            rectangle(value, (start, texts, length)),
            attn_mask=mask,
            is_causal=seen[1],
            scale=seen[0],
            enable_gqa=query.shape[1] != key.shape[1],
        )
        found.append(part.transpose(1, 2).flatten(0, 1))
    whole = found[0] if len(found) == 1 else torch.cat(found)
    return whole.index_select(0, kept) if len(tokens) else whole


def rectangle(part: Tensor, run: tuple[int, int, int]) -> Tensor:
    """Texts of one length, `[n, heads, length, width]`; the run has start, texts, length."""
    start, texts, length = run
    tokens = part[start : start + texts * length]
    return tokens.reshape(texts, length, part.shape[1], part.shape[2]).transpose(1, 2)


def _near(
    row: tuple[Tensor, Tensor, Tensor],
    places: tuple[Tensor, Tensor, Tensor, Tensor, Tensor],
    scale: float,
    safe: float = SAFE,
) -> Tensor:
    """A few batched products for all texts.

    Each row's largest score is not subtracted from it first, which costs more than all the rest,
    unless scores are so far from 0 that it is needed: then all is made anew, with all its digits.
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

    Weights are zero in no place, padded or not: the value rows see to that.
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
