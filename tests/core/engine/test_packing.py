"""Batches to rows and rectangles."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedwell.engine import packing
from embedwell.engine.packing import Group
from embedwell.interfaces.encoders import Batch
from tests.core.engine.small_models import batch

TEXTS = st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=12), min_size=1, max_size=9)


def one_group(texts: list[list[int]]) -> Group:
    made = batch(texts)
    ids = packing.check(made, 10, None)
    (group,) = packing.groups(made, ids, packing.order(made), [len(texts)])
    return group


@given(TEXTS)
def test_a_group_holds_every_text_shortest_first(texts: list[list[int]]) -> None:
    group = one_group(texts)
    pieces = np.split(group.ids, np.cumsum(group.lengths)[:-1])
    assert sorted(map(list, pieces)) == sorted(texts)
    assert list(group.lengths) == sorted(map(len, texts))


@given(TEXTS)
def test_runs_are_the_equal_lengths_end_to_end(texts: list[list[int]]) -> None:
    group = one_group(texts)
    start = 0
    for run in group.runs:
        assert run.start == start
        start += run.texts * run.length
    assert start == len(group.ids)
    assert [run.length for run in group.runs for _ in range(run.texts)] == list(group.lengths)
    assert len({run.length for run in group.runs}) == len(group.runs)


@given(TEXTS)
def test_positions_restart_with_each_text(texts: list[list[int]]) -> None:
    group = one_group(texts)
    expected = [place for length in group.lengths for place in range(length)]
    assert packing.positions(group, None).tolist() == expected


@given(TEXTS, st.integers(0, 3))
def test_positions_count_like_roberta(texts: list[list[int]], padding: int) -> None:
    expected: list[int] = []
    for text in sorted(texts, key=len):
        seen = padding
        for token in text:
            seen += token != padding
            expected.append(seen if token != padding else padding)
    assert packing.positions(one_group(texts), padding).tolist() == expected


@given(TEXTS, st.none() | st.integers(0, 40))
def test_a_rectangle_pads_on_the_right(texts: list[list[int]], spare: int | None) -> None:
    needed = max(map(len, texts))
    longest = None if spare is None else needed + spare
    ids, mask = packing.rectangle(one_group(texts), 77, longest)
    for row, text in zip(ids.tolist(), sorted(texts, key=len), strict=True):
        assert row == text + [77] * (len(row) - len(text))
    assert (mask == (ids != 77)).all()
    width = ids.shape[1]
    assert needed <= width <= (longest or width)
    assert len(texts) > 1 or width == needed


def test_rectangles_are_as_wide_as_products_like_it_and_the_model_allows() -> None:
    texts = [[1] * 17, [1] * 3]
    widths = [packing.rectangle(one_group(texts), 0, most)[0].shape[1] for most in (None, 32, 31)]
    assert widths == [32, 32, 17]


@given(st.integers(0, 10_000))
def test_a_tail_makes_whole_tiles(tokens: int) -> None:
    whole = tokens + packing.tail(tokens)
    assert whole % packing.TILE == 0
    assert tokens <= whole < tokens + max(packing.TILE, tokens / 16 + 1)
    assert packing.tail(whole) == 0


@given(st.lists(st.integers(1, 50), min_size=1), st.integers(1, 200), st.booleans())
def test_parts_cost_at_most_the_limit(lengths: list[int], limit: int, packed: bool) -> None:
    lengths.sort()
    ends = packing.cuts(lengths, limit, packed)
    assert ends[-1] == len(lengths)
    start = 0
    for end in ends:
        part = lengths[start:end]
        cost = sum(part) if packed else max(part) * len(part)
        assert len(part) == 1 or cost <= limit
        start = end


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (batch([[1, 10]]), "outside the vocabulary of 10"),
        (batch([[1, -1]]), "outside the vocabulary of 10"),
        (batch([[1] * 6]), "longer than the 5 positions"),
        (Batch(b"", (), ()), "add up"),
        (Batch(b"\1\0\0\0", (2,), (0,)), "add up"),
        (Batch(b"\1\0\0\0", (1, 0), (0, 0)), "add up"),
        (Batch(b"\1\0\0\0", (1,), ()), "skip"),
        (Batch(b"\1\0\0\0", (1,), (-1,)), "skip"),
    ],
)
def test_a_batch_that_breaks_the_contract_is_refused(made: Batch, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        packing.check(made, 10, 5)


def test_the_finest_sizes_are_few() -> None:
    sizes = {tokens + packing.tail(tokens) for tokens in range(1, 2049)}
    assert len(sizes) == 64
