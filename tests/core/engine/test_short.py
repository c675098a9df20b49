"""Attention over many short texts together against torch's own of each text alone."""

import sys
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch import Tensor

from embedwell.engine import attention, long, products, short
from embedwell.engine.layer import Kind
from embedwell.engine.packing import Run
from embedwell.engine.short import Layout
from tests.core.engine.rows import (
    HEADS,
    LENGTHS,
    TOLERANCE,
    Row,
    largest_difference,
    one_by_one,
    random_row,
    runs,
)

# Scores just below 60 are rounded to an eighth in bfloat16, their weights by as much.
ROUNDED = {torch.float32: 1e-5, torch.bfloat16: 0.25}


@pytest.fixture(autouse=True)
def inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


def together(lengths: list[int], scale: float, row: Row, tail: int = 0) -> Tensor:
    layout = Layout(runs(lengths), row[0].shape[1], row[1].shape[1], tail)
    return products.program()(*row, (scale, False), (*layout.near, *long.as_they_lie([])))


@pytest.mark.parametrize("dtype", TOLERANCE)
@hypothesis_settings(max_examples=20)
@given(
    lengths=LENGTHS,
    heads=HEADS,
    width=st.sampled_from([1, 8, 20, 32]),
    spread=st.sampled_from([0.3, 1.0, 5.0, 30.0]),
    seed=st.integers(0, 99),
)
def test_every_text_gets_what_it_gets_alone(
    dtype: torch.dtype,
    lengths: list[int],
    heads: tuple[int, int],
    width: int,
    spread: float,
    seed: int,
) -> None:
    """The largest spread takes scores to some hundreds."""
    query, key, value = random_row(lengths, *heads, width, seed)
    row = ((query * spread).to(dtype), key.to(dtype), value.to(dtype))
    scale = width**-0.5
    found = together(lengths, scale, row)
    assert found.dtype is dtype
    assert largest_difference(found, one_by_one(lengths, scale, *row)) < ROUNDED[dtype]


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("score", [-500.0, -64.0, -62.0, 55.0, 58.0, 500.0])
@pytest.mark.parametrize("where", [0, 2, 4])
def test_large_scores_of_one_text_stay_right_and_its_own(
    dtype: torch.dtype, score: float, where: int
) -> None:
    """All scores of that text are about as far from 0, or its largest would be no trouble.

    A sum over 17 to 21 of their exponentials reaches SAFE at 57, and one through it at -63.
    """
    lengths = [17, 18, 19, 20, 21]
    query, key, value = random_row(lengths, 4, 4, 8)
    own = slice(sum(lengths[:where]), sum(lengths[: where + 1]))
    query[own], key[own] = query[own] * 0.01, key[own] * 0.01
    query[own, :, 0], key[own, :, 0] = score, 1.0
    row = (query.to(dtype), key.to(dtype), value.to(dtype))
    found = together(lengths, 1.0, row)
    assert largest_difference(found, one_by_one(lengths, 1.0, *row)) < TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_large_scores_and_large_values_together_are_still_finite(dtype: torch.dtype) -> None:
    lengths = [17, 18]
    query, key, value = random_row(lengths, 2, 2, 8)
    query, key = query * 0.01, key * 0.01
    query[:, :, 0], key[:, :, 0] = 80.0, 1.0
    row = (query.to(dtype), key.to(dtype), (value * 1e6).to(dtype))
    assert largest_difference(together(lengths, 1.0, row), one_by_one(lengths, 1.0, *row)) < 0.1


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_scores_of_some_hundreds_keep_their_digits(dtype: torch.dtype) -> None:
    lengths = [50, 55, 60]
    query, key, value = random_row(lengths, 2, 2, 16)
    row = ((query * 60).to(dtype), key.to(dtype), value.to(dtype))
    found = together(lengths, 1.0, row)
    assert largest_difference(found, one_by_one(lengths, 1.0, *row)) < TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("which", [0, 1, 2], ids=["query", "key", "value"])
@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_what_is_not_finite_in_one_text_stays_there(
    dtype: torch.dtype, which: int, poison: float
) -> None:
    lengths = [5, 6, 6, 6]  # all in one rectangle
    row = [part.to(dtype) for part in random_row(lengths, 2, 2, 8)]
    wanted = one_by_one(lengths, 0.3, *row)
    row[which][11:17] = poison
    found = together(lengths, 0.3, (row[0], row[1], row[2]))
    assert not found[11:17].isfinite().any()
    found[11:17], wanted[11:17] = 0, 0
    assert largest_difference(found, wanted) < TOLERANCE[dtype]


@hypothesis_settings(max_examples=40)
@given(lengths=LENGTHS, heads=HEADS)
def test_a_block_holds_one_head_of_one_text(lengths: list[int], heads: tuple[int, int]) -> None:
    """And each row of it goes back to where it came from."""
    layout = Layout(runs(lengths), *heads)
    text = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    queries, keys = layout.queries, layout.keys
    for start, blocks, length in layout.rectangles:
        rows = slice(start, start + blocks * length)
        query, key = queries[rows].view(blocks, -1), keys[rows].view(blocks, -1)
        value = layout.values[rows].view(blocks, -1) - heads[1]  # after the zeros
        owners = text[query // heads[0]]
        assert (owners == owners[:, :1]).all()
        assert (text[key // heads[1]] == owners).all()
        assert (query % heads[0] * heads[1] // heads[0] == key % heads[1]).all()
        real = value >= 0
        assert (value[real] == key[real]).all()
        counts = zip(real.sum(1).tolist(), owners[:, 0].tolist(), strict=True)
        assert all(count in {0, lengths[owner]} for count, owner in counts), "0: an empty text"
    assert (queries[layout.back] == torch.arange(sum(lengths) * heads[0])).all()


@hypothesis_settings(max_examples=40)
@given(lengths=LENGTHS, heads=HEADS)
def test_rectangles_are_bounded(lengths: list[int], heads: tuple[int, int]) -> None:
    layout = Layout(runs(lengths), *heads)
    place = 0
    for start, blocks, length in layout.rectangles:
        texts = blocks // heads[0]
        assert (start, blocks % heads[0]) == (place, 0)
        assert texts == 1 or blocks * length**2 <= short.LARGEST
        place += blocks * length
    assert len(layout.queries) == len(layout.keys) == len(layout.values) == place


def test_many_texts_of_one_length_take_several_rectangles() -> None:
    layout = Layout([Run(0, 100, 128)], 12, 12)
    assert [blocks // 12 for _, blocks, _ in layout.rectangles] == [4] * 25


def test_a_row_is_laid_out_once_for_all_its_layers() -> None:
    row = attention.Row(runs([3, 5]))
    kind = Kind(4, 2, causal=False, close=True)
    assert row.places(kind) is row.places(kind)
    assert row.places(kind._replace(shared=4)) is not row.places(kind)


@pytest.mark.parametrize("longest", [40, short.LONGEST, short.LONGEST + 1])
def test_a_text_that_is_too_long_for_it_goes_another_way(longest: int) -> None:
    row = attention.Row(runs([30, *[40] * short.FEWEST, longest]))
    places = row.places(Kind(2, 1, causal=False, close=True))
    assert places[5].tolist() == ([[0, 1, 144]] if longest > short.LONGEST else [])


@pytest.mark.parametrize("texts", [1, short.FEWEST - 1, short.FEWEST])
def test_few_texts_go_another_way(texts: int) -> None:
    row = attention.Row(runs([20] * texts))
    places = row.places(Kind(2, 1, causal=False, close=True))
    assert (len(places[0]) == 0) == (texts < short.FEWEST)


@hypothesis_settings(max_examples=40)
@given(LENGTHS, HEADS, st.integers(0, 15))
def test_a_tail_comes_out_last_and_finite(
    lengths: list[int], heads: tuple[int, int], tail: int
) -> None:
    count = sum(lengths)
    query, key, value = random_row([count, tail], *heads, 8)
    found = together(lengths, 0.3, (query, key, value), tail)
    plain = together(lengths, 0.3, (query[:count], key[:count], value[:count]))
    assert found.shape == query.shape
    assert found.isfinite().all()
    assert torch.equal(found[:count], plain)


@hypothesis_settings(max_examples=40)
@given(st.lists(st.integers(1, 64), min_size=1, max_size=64).map(sorted))
def test_rectangles_come_in_few_sizes(lengths: list[int]) -> None:
    """Whatever the texts: each size is a product for which code is made."""
    sizes = {(blocks, length) for _, blocks, length in Layout(runs(lengths), 1, 1).rectangles}
    assert {length for _, length in sizes} <= set(range(8, 65, 8))
    assert {blocks for blocks, _ in sizes} <= {1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64}


@hypothesis_settings(max_examples=40)
@given(st.integers(1, 1024), st.integers(1, 200), st.integers(1, 16))
def test_few_places_are_empty(length: int, texts: int, heads: int) -> None:
    layout = Layout([Run(0, texts, length)], heads, heads)
    places = sum(blocks * width for _, blocks, width in layout.rectangles)
    assert places <= max(length + 7, 1.25 * length) * 1.5 * texts * heads
    assert all(
        blocks == heads or blocks * width * width <= short.LARGEST
        for _, blocks, width in layout.rectangles
    )


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="torch no longer translates there")
def test_the_products_run_without_python() -> None:
    assert isinstance(products.program(), torch.jit.ScriptFunction)
