"""Attention over longer texts, and over few: torch's own, in rectangles of a size it is fast for.

A length that is no multiple of 16 takes it twice as long. Texts whose lengths come to the same
multiple share a rectangle, in which places after a text's end are kept out by a mask, or by order
where a token sees only those before it.
"""

from collections.abc import Sequence
from itertools import groupby

import numpy as np
import torch

from embedwell.engine.far import Far
from embedwell.engine.packing import TILE, Run, table


def as_they_lie(runs: Sequence[Run]) -> Far:
    """Each length a rectangle, in the row itself: where gathering gains nothing."""
    nothing = torch.zeros(0, dtype=torch.int64)
    return torch.from_numpy(table(runs, 3)), nothing, nothing.bool(), nothing


def laid_out(runs: Sequence[Run], causal: bool) -> Far:
    """Rectangles whose widths are multiples of TILE; texts of such lengths stay where they lie.

    Without a mask where a token sees only those before it.
    """
    if all(run.length % TILE == 0 for run in runs):
        return as_they_lie(runs)
    rectangles, tokens, real = [], [], []
    place = 0
    for width, same in groupby(_texts(runs), key=lambda text: -(-text[1] // TILE) * TILE):
        starts, lengths = (np.array(numbers)[:, None] for numbers in zip(*same, strict=True))
        inside = np.arange(width)
        tokens.append((starts + np.minimum(inside, lengths - 1)).ravel())
        real.append((inside < lengths).ravel())
        rectangles.append((place, len(starts), width))
        place += len(tokens[-1])
    own = np.concatenate(real)
    mask = own[:0] if causal else own
    numbers = table(rectangles, 3), np.concatenate(tokens), mask, np.flatnonzero(own)
    sizes, places, seen, kept = map(torch.from_numpy, numbers)
    return sizes, places, seen, kept


def _texts(runs: Sequence[Run]) -> list[tuple[int, int]]:
    """First token and length of each."""
    return [(run.start + i * run.length, run.length) for run in runs for i in range(run.texts)]
