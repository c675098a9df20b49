"""Packed rows for tests of attention, and what torch's own gives for each of their texts alone."""

from itertools import accumulate, groupby

import torch
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from embedwell.engine.packing import Run

TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 0.02}  # of the largest number
LENGTHS = st.lists(st.integers(1, 300), min_size=1, max_size=9).map(sorted)
HEADS = st.sampled_from([(1, 1), (4, 4), (4, 2), (12, 12), (6, 1), (6, 3)])  # the second: shared
Row = tuple[Tensor, Tensor, Tensor]


def runs(lengths: list[int]) -> list[Run]:
    """Of ascending lengths."""
    starts = accumulate(lengths, initial=0)
    placed = groupby(zip(lengths, starts, strict=False), key=lambda pair: pair[0])
    made = [(length, list(texts)) for length, texts in placed]
    return [Run(texts[0][1], len(texts), length) for length, texts in made]


def random_row(lengths: list[int], heads: int, shared: int, width: int, seed: int = 0) -> Row:
    dice = torch.Generator().manual_seed(seed)
    tokens = sum(lengths)
    query = torch.randn(tokens, heads, width, generator=dice)
    key, value = torch.randn(2, tokens, shared, width, generator=dice)
    return query, key, value


def one_by_one(
    lengths: list[int],
    scale: float,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    causal: bool = False,
) -> Tensor:
    """In float32, whatever is given."""
    pieces = []
    parts = (torch.split(part.float(), lengths) for part in (query, key, value))
    for own in zip(*parts, strict=True):
        q, k, v = (part.transpose(0, 1)[None] for part in own)
        found = scaled_dot_product_attention(
            q, k, v, is_causal=causal, scale=scale, enable_gqa=True
        )
        pieces.append(found[0].transpose(0, 1))
    return torch.cat(pieces)


def largest_difference(found: Tensor, wanted: Tensor) -> float:
    assert found.shape == wanted.shape
    return float((found.float() - wanted).abs().max() / wanted.abs().max())
