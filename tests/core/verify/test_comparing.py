"""How far apart vectors are, and the batches that they are computed in."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedwell.engine.tolerances import COMPOSITION, FLOORS
from embedwell.errors import ModelError
from embedwell.interfaces.embedding import Tokens
from embedwell.interfaces.encoders import Batch
from embedwell.testing import FakeEncoder
from embedwell.verify.comparing import check, encoded
from embedwell.verify.compositions import SIZES, alone, together

TOKENS = Tokens((b"\1\0\0\0", b"\2\0\0\0\3\0\0\0", b"\4\0\0\0"), (1, 2, 1), 0)


def test_a_check_names_the_worst_text_and_holds_up_to_its_tolerance() -> None:
    found = np.array([0.0, 0.25, 0.125])
    assert check("c", "w", found, 0.25).verdict == "holds"
    beyond = check("c", "w", found, 0.2)
    assert (beyond.verdict, beyond.worst, beyond.mean, beyond.text) == ("differs", 0.25, 0.125, 1)


@given(st.integers(1, 300))
def test_every_making_of_batches_has_every_text_once(count: int) -> None:
    makings = together(count)
    assert list(map(len, alone(count))) == [1] * count
    assert len(makings) == 1 + sum(size < count for size in SIZES)
    for batches in (alone(count), *makings):
        assert sorted(index for batch in batches for index in batch) == list(range(count))
    assert makings == together(count)


@pytest.mark.parametrize("threads", [1, 3])
def test_rows_come_back_in_the_order_of_the_texts(threads: int) -> None:
    encoder, steps = FakeEncoder(), list[int]()
    straight = encoded(encoder, TOKENS, alone(3), steps.append, threads)
    mixed = encoded(encoder, TOKENS, [[2, 0], [1]], steps.append, threads)
    np.testing.assert_array_equal(straight, mixed)
    assert steps == [1, 1, 1, 2, 1]


class NotFinite(FakeEncoder):
    def encode(self, batch: Batch) -> "np.ndarray[tuple[int, int], np.dtype[np.float32]]":
        found = super().encode(batch)
        found[-1, 0] = np.nan
        return found


def test_values_that_are_not_finite_end_it() -> None:
    with pytest.raises(ModelError, match="not finite for text 2: do not serve it"):
        encoded(NotFinite(), TOKENS, [[0, 1, 2]], lambda count: None, 2)


def test_every_dtype_has_both_tolerances() -> None:
    assert FLOORS.keys() == COMPOSITION.keys()
