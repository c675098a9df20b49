"""How far apart two sets of vectors are."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

SHORTEST = 1e-30  # of a row: shorter ones have no direction


def distances(rows: NDArray[Any], others: NDArray[Any]) -> NDArray[np.float64]:
    """1 − cosine, row by row, at least 0; NaN where a value is not finite.

    Rows without a length are equal to each other only.
    """
    one, other = rows.astype(np.float64), others.astype(np.float64)
    lengths = np.linalg.norm(one, axis=1), np.linalg.norm(other, axis=1)
    product = np.maximum(lengths[0] * lengths[1], SHORTEST**2)
    with np.errstate(invalid="ignore"):  # infinity less or times or by itself
        found: NDArray[np.float64] = np.maximum(1 - (one * other).sum(1) / product, 0)
    found[(lengths[0] < SHORTEST) & (lengths[1] < SHORTEST)] = 0
    return found
