"""Sizes of products: few, and finer ones for what comes often."""

from concurrent.futures import ThreadPoolExecutor

from hypothesis import given
from hypothesis import strategies as st

from embedwell.engine import packing
from embedwell.engine.sizes import OFTEN, Sizes


def test_what_comes_once_has_one_of_few_sizes() -> None:
    sizes = Sizes()
    assert len({tokens + sizes.tail(tokens) for tokens in range(1, 2049, 17)}) == 24


@given(st.lists(st.integers(1, 300), min_size=1, max_size=200))
def test_whatever_came_before_sizes_are_whole_tiles_and_waste_at_most_a_quarter(
    lengths: list[int],
) -> None:
    sizes = Sizes()
    for tokens in lengths:
        rows = tokens + sizes.tail(tokens)
        assert rows % packing.TILE == 0
        assert tokens + packing.tail(tokens) <= rows < tokens * 1.25 + packing.TILE


def test_what_comes_often_gets_its_own_size() -> None:
    sizes = Sizes()
    found = [300 + sizes.tail(300) for _ in range(OFTEN + 1)]
    assert found == [320] * (OFTEN - 1) + [304] * 2
    assert 310 + sizes.tail(310) == 320
    assert 420 + sizes.tail(420) == 448


def test_what_comes_seldom_never_does() -> None:
    sizes = Sizes()
    for _ in range(100):
        assert 300 + sizes.tail(300) == 320
        for _ in range(200):
            sizes.tail(100)


def test_threads_share_what_they_have_seen() -> None:
    sizes = Sizes()
    with ThreadPoolExecutor(8) as threads:
        tails = list(threads.map(sizes.tail, [300] * 400))
    assert tails.count(20) == OFTEN - 1
    assert tails.count(4) == 400 - OFTEN + 1
