"""The comparison's arithmetic: quality, work, ratios; no clock and no process."""

from collections.abc import Mapping, Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from tests.benchmarks.engines.engine import Rows

Values = NDArray[np.float64]


class Shape(Struct, frozen=True):
    """The layers' matrix products: a model's config.json, as far as it says them."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int

    def products(self) -> list[tuple[int, int]]:
        """(in, out) of one layer's products, the three of attention's input as one."""
        h, i = self.hidden_size, self.intermediate_size
        return [(h, 3 * h), (h, h), (h, i), (i, h)]

    def flops_per_token(self) -> int:
        """Of all layers' products; attention's scores, which depend on lengths, are not in it."""
        return self.num_hidden_layers * sum(2 * a * b for a, b in self.products())


def product_rate(rates: Mapping[tuple[int, int], float]) -> float:
    """One rate for a layer of products, each of which runs at its own."""
    work = {shape: shape[0] * shape[1] for shape in rates}
    return sum(work.values()) / sum(work[shape] / rate for shape, rate in rates.items())


def cosines(rows: Rows, reference: Rows) -> Values:
    """Row by row; neither need be of unit length."""
    a, b = rows.astype(np.float64), reference.astype(np.float64)
    found: Values = (a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
    return found


def spearman(left: Sequence[float] | Values, right: Sequence[float] | Values) -> float:
    """Correlation of ranks; equal values share the mean of theirs."""
    return float(np.corrcoef(ranks(left), ranks(right))[0, 1])


def ranks(values: Sequence[float] | Values) -> Values:
    """From 0 on."""
    _, places, counts = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    found: Values = (last - (counts + 1) / 2)[places]
    return found
