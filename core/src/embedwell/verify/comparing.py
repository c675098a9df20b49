"""Vectors of texts in batches of any making, and the verdict on how far apart they are."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from embedwell.errors import ModelError
from embedwell.interfaces.embedding import Tokens
from embedwell.interfaces.encoders import Encoder, batch_of
from embedwell.verify.compositions import Batches
from embedwell.verify.results import Check

if TYPE_CHECKING:
    from embedwell.interfaces.encoders import Rows

Distances = NDArray[np.float64]


def encoded(
    encoder: Encoder,
    tokens: Tokens,
    batches: Batches,
    step: Callable[[int], None],
    threads: int,
) -> "Rows":
    """Rows in the texts' order; `step` hears how many texts each batch had.

    So many `threads` run batches side by side. Raises ModelError for a value that is not finite.
    """
    rows = np.empty((len(tokens.lengths), encoder.facts.dimensions), np.float32)
    with ThreadPoolExecutor(threads) as pool:
        found = pool.map(lambda batch: encoder.encode(batch_of(tokens, batch)), batches)
        for batch, some in zip(batches, found, strict=True):
            rows[list(batch)] = some
            step(len(batch))
    finite = np.isfinite(rows).all(axis=1)
    if not finite.all():
        bad = int(np.argmin(finite))
        raise ModelError(f"it gives values that are not finite for text {bad}: do not serve it")
    return rows


def check(name: str, what: str, found: Distances, tolerance: float) -> Check:
    """The verdict on these distances."""
    worst = int(np.argmax(found))
    holds = bool(found[worst] <= tolerance)
    return Check(
        name=name,
        what=what,
        verdict="holds" if holds else "differs",
        worst=float(found[worst]),
        mean=float(found.mean()),
        text=worst,
        tolerance=tolerance,
    )
