"""Attention by torch's own, a call a rectangle, as `long.py` lays out.

TorchScript, see `products.py`.
"""

from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

# Rectangles `[n, 3]`: start, texts, length;
# for each of their places its token, none where they lie in the row itself;
# which places are real, none where it does not matter;
# for each token its place.
Far: TypeAlias = tuple[Tensor, Tensor, Tensor, Tensor]


def far(
    row: tuple[Tensor, Tensor, Tensor],
    places: tuple[Tensor, Tensor, Tensor, Tensor],
    seen: tuple[float, bool],
) -> Tensor:
    """`[tokens, heads, width]` of the texts laid out, in their order.

    `row` is query, key and value as `products.attended` takes them, and `seen` is as there.
    """
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
