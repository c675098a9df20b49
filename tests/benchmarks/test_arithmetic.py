"""The comparison's arithmetic on numbers that can be followed by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.benchmarks.engines.padded import Batches, gather, pool
from tests.benchmarks.speed import model
from tests.benchmarks.speed.arithmetic import Shape, cosines, product_rate, ranks, spearman

MINILM = Shape(hidden_size=384, intermediate_size=1536, num_hidden_layers=6)


def test_flops_of_the_model_are_twice_its_layers_parameters() -> None:
    assert MINILM.flops_per_token() == 2 * 6 * (4 * 384**2 + 2 * 384 * 1536)
    assert model.shape(model.folder()) == MINILM


def test_a_rate_of_several_products_weighs_each_by_its_time() -> None:
    assert product_rate({(10, 10): 100.0, (10, 20): 100.0}) == pytest.approx(100)
    assert product_rate({(10, 10): 50.0, (10, 30): 150.0}) == pytest.approx(100)


def test_cosines_do_not_depend_on_lengths() -> None:
    left = np.array([[1, 0], [3, 4]], np.float32)
    right = np.array([[2, 2], [6, 8]], np.float32)
    assert cosines(left, right) == pytest.approx([0.5**0.5, 1])


def test_equal_values_share_the_mean_of_their_ranks() -> None:
    assert list(ranks([5, 1, 5, 7])) == [1.5, 0, 1.5, 3]


@given(st.permutations(range(12)))
def test_spearman_of_distinct_values_is_the_formula_of_squared_differences(
    order: list[int],
) -> None:
    squares = sum((place - rank) ** 2 for place, rank in enumerate(order))
    expected = 1 - 6 * squares / (12 * (12**2 - 1))
    assert spearman(range(12), [rank**3 for rank in order]) == pytest.approx(expected)


def test_batches_hold_every_text_once_padded_no_further_than_their_longest() -> None:
    texts = ["word " * (n % 7 + 1) for n in range(40)]
    batches = list(Batches(model.folder()).of(texts))
    assert sorted(place for batch in batches for place in batch.places) == list(range(40))
    assert all(batch.mask.sum(1).max() == batch.ids.shape[1] for batch in batches)
    assert sum(int(batch.mask.sum()) for batch in batches) == sum(n % 7 + 3 for n in range(40))


def test_texts_are_counted_as_the_model_cuts_them() -> None:
    assert model.Counter(model.folder()).lengths(["word", "word " * 1_000]) == [3, 256]


def test_pooling_leaves_padding_out_and_gathering_restores_the_order() -> None:
    hidden = np.array([[[3, 0], [1, 0]], [[0, 2], [9, 9]]], np.float32)
    rows = pool(hidden, np.array([[1, 1], [1, 0]]))
    assert gather(2, [([1, 0], rows)]).tolist() == [[0, 1], [1, 0]]


def test_a_missing_model_package_says_what_to_do() -> None:
    with pytest.raises(LookupError, match="run make install"):
        model.folder("no-such-model-package")
