"""Attention in rectangles, against torch's own of each text alone; and whole rows of both kinds."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch import Tensor

from embedwell.engine import attention, long, short
from embedwell.engine.attention import packed_attention
from embedwell.engine.layer import Layer
from embedwell.engine.packing import TILE
from tests.core.engine.rows import (
    HEADS,
    LENGTHS,
    TOLERANCE,
    largest_difference,
    one_by_one,
    random_row,
    runs,
)

MANY = [5] * short.FEWEST  # so that short texts are computed together
ROWS = [[1], [16], [17], [3, 300], [130, 131, 143, 144], [*MANY, 128, 129, 300], [*MANY, 40]]


@pytest.fixture(autouse=True)
def inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


class Module(torch.nn.Module):
    def __init__(self, causal: bool) -> None:
        super().__init__()
        self.is_causal = causal


def packed(lengths: list[int], causal: bool, row: list[Tensor], tail: int) -> Tensor:
    query, key, value = (part.transpose(0, 1)[None] for part in row)
    argument: dict[str, Any] = {attention.ARGUMENT: attention.Row(runs(lengths), tail)}
    found, _ = packed_attention(Module(causal), query, key, value, None, **argument)
    return found[0]


def alone(lengths: list[int], causal: bool, row: list[Tensor]) -> Tensor:
    query, key, value = row
    return one_by_one(lengths, query.shape[2] ** -0.5, query, key, value, causal=causal)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("lengths", ROWS, ids=str)
@pytest.mark.parametrize("heads", [(2, 2), (4, 1)], ids=str)
@pytest.mark.parametrize("tail", [0, 3])
def test_every_text_gets_what_it_gets_alone(
    dtype: torch.dtype, causal: bool, lengths: list[int], heads: tuple[int, int], tail: int
) -> None:
    count = sum(lengths)
    row = [part.to(dtype) for part in random_row([count, tail], *heads, 16)]
    found = packed(lengths, causal, row, tail)
    wanted = alone(lengths, causal, [part[:count] for part in row])
    assert found.dtype is dtype
    assert found.shape == row[0].shape
    assert largest_difference(found[:count], wanted) < TOLERANCE[dtype]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_what_is_not_finite_in_one_text_stays_there(causal: bool, poison: float) -> None:
    lengths = [130, 135, 140]  # all in one rectangle
    row = [part.bfloat16() for part in random_row(lengths, 2, 2, 8)]
    wanted = alone(lengths, causal, row)
    for part in row:
        part[130:265] = poison
    found = packed(lengths, causal, row, 0)
    assert not found[130:265].isfinite().any()
    found[130:265], wanted[130:265] = 0, 0
    assert largest_difference(found, wanted) < TOLERANCE[torch.bfloat16]


@hypothesis_settings(max_examples=40)
@given(lengths=LENGTHS, causal=st.booleans())
def test_rectangles_hold_each_token_once_in_its_place(lengths: list[int], causal: bool) -> None:
    assume(any(length % TILE for length in lengths))
    rectangles, tokens, real, kept = long.laid_out(runs(lengths), causal)
    assert tokens[kept].tolist() == list(range(sum(lengths)))
    assert len(tokens) == sum(texts * width for _, texts, width in rectangles.tolist())
    assert causal or real.nonzero().ravel().tolist() == kept.tolist()
    assert all(width % TILE == 0 for _, _, width in rectangles.tolist())
    owners = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))[tokens]
    for start, texts, width in rectangles.tolist():
        own = owners[start : start + texts * width].view(texts, width)
        assert (own == own[:, :1]).all()


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_which_way_tokens_look_matters_where_texts_are_gathered(dtype: torch.dtype) -> None:
    """In float32, layers of both ways have the same places, and can be recorded."""
    query, key, _ = (part.to(dtype) for part in random_row([9], 4, 2, 8))
    back, both = (Layer(causal, None, None, None).kind(query, key) for causal in (True, False))
    assert (back == both) == (dtype is torch.float32)


@pytest.mark.parametrize("causal", [False, True])
def test_texts_that_fill_their_rectangles_stay_where_they_lie(causal: bool) -> None:
    rectangles, *gathered = long.laid_out(runs([16, 32, 32]), causal)
    assert rectangles.tolist() == [[0, 1, 16], [16, 2, 32]]
    assert [len(places) for places in gathered] == [0, 0, 0]


@hypothesis_settings(max_examples=40)
@given(
    lengths=st.lists(st.integers(1, 200), min_size=1, max_size=40).map(sorted),
    heads=HEADS,
    causal=st.booleans(),
)
def test_any_lengths_and_heads(lengths: list[int], heads: tuple[int, int], causal: bool) -> None:
    row = [part.bfloat16() for part in random_row(lengths, *heads, 8)]
    found = packed(lengths, causal, row, 0)
    assert largest_difference(found, alone(lengths, causal, row)) < TOLERANCE[torch.bfloat16]
