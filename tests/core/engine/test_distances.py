"""How far apart vectors are."""

import numpy as np

from embedwell.engine.distances import distances


def rows(*values: tuple[float, ...]) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    return np.array(values, np.float32)


def test_distances_are_of_directions_not_of_lengths() -> None:
    one = rows((1, 0), (1, 0), (1, 0), (2, 2))
    other = rows((5, 0), (0, 1), (-1, 0), (1, 1))
    np.testing.assert_allclose(distances(one, other), [0, 1, 2, 0], atol=1e-12)


def test_a_vector_without_a_direction_is_near_its_like_only() -> None:
    assert distances(rows((0, 0), (0, 0)), rows((0, 0), (1, 0))).tolist() == [0, 1]


def test_what_is_not_finite_is_near_to_nothing() -> None:
    inf, nan = float("inf"), float("nan")
    found = distances(rows((inf, 0), (nan, 1), (1, 0)), rows((inf, 0), (nan, 1), (1, 0)))
    assert np.isnan(found).tolist() == [True, True, False]
