"""Sizes of products: few, and finer ones for what comes often."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedwell.engine import packing
from embedwell.engine.sizes import AGE, OFTEN, Sizes


def test_what_comes_once_has_one_of_few_sizes() -> None:
    sizes = Sizes()
    assert len({tokens + sizes.tail(tokens) for tokens in range(1, 2049, 17)}) == 24


@given(st.lists(st.integers(1, 9_000), min_size=1, max_size=100))
def test_whatever_came_before_sizes_are_whole_tiles_and_waste_at_most_a_quarter(
    lengths: list[int],
) -> None:
    sizes = Sizes()
    for tokens in lengths * OFTEN:
        rows = tokens + sizes.tail(tokens)
        assert rows % packing.TILE == 0
        assert tokens + packing.tail(tokens) <= rows < tokens * 1.25 + packing.TILE


def test_what_comes_often_gets_its_own_size() -> None:
    sizes = Sizes()
    found = [300 + sizes.tail(300) for _ in range(OFTEN + 1)]
    assert found == [320] * (OFTEN - 1) + [304] * 2
    assert 310 + sizes.tail(310) == 320
    assert 420 + sizes.tail(420) == 448


@pytest.mark.parametrize(("times", "last"), [(OFTEN - 1, 320), (OFTEN, 304)])
def test_often_is_so_many_times_among_the_passes_of_an_age(times: int, last: int) -> None:
    sizes = Sizes()
    for _ in range(3):
        found = [300 + sizes.tail(300) for _ in range(times)]
        for _ in range(AGE - times):
            sizes.tail(100)
    assert found[-1] == last
