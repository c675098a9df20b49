"""The texts of a comparison, and what a file of pairs says about their likeness."""

import csv
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from embedwell.bench.texts import generated, read

COUNT = 2_000
CALIBRATION = 150
SEED = 0
CALIBRATION_SEED = 1  # not the texts that are measured
SHORT = 12  # tokens of a text that is sent alone


class Pair(Struct, frozen=True):
    """Two texts, and how alike people found them."""

    left: str
    right: str
    score: float


def chosen(path: Path | None) -> list[str]:
    """The file's distinct texts, or generated ones; raises embedwell's Invalid."""
    return generated(COUNT, SEED) if path is None else read(path)


def calibration() -> list[str]:
    """For post-training quantisation."""
    return generated(CALIBRATION, CALIBRATION_SEED)


def pairs(path: Path | None, known: Sequence[str]) -> list[Pair]:
    """The rows of a CSV file of text, text, number; none where it has others.

    Rows with a text that is not `known` are left out: a number by itself is no text.
    """
    if path is None or path.suffix != ".csv":
        return []
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            found = [_pair(row) for row in csv.reader(file)]
        except ValueError:
            return []
    texts = set(known)
    return [pair for pair in found if pair.left in texts and pair.right in texts]


def _pair(row: Sequence[str]) -> Pair:
    left, right, score = row
    return Pair(left.strip(), right.strip(), float(score))


def short(texts: Sequence[str], lengths: Sequence[int], count: int) -> list[str]:
    """Those whose length is next to 12 tokens."""
    order = sorted(range(len(texts)), key=lambda place: abs(lengths[place] - SHORT))
    return [texts[place] for place in order[:count]]
