"""The table of all cells, and whether what was written down beforehand came true."""

import random
from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from tests.benchmarks.cache import cells
from tests.benchmarks.cache.cells import Cell
from tests.benchmarks.cache.contest import BASELINE, OURS, POLICIES, ratios

Runs = Sequence[Mapping[str, float]]  # seed by seed, each policy's reload seconds
OFFLINE = "offline"


class Judged(Struct, frozen=True):
    """A cell's mean ratios to the baseline, and the interval of ours."""

    cell: Cell
    baseline: float  # seconds
    means: Mapping[str, float]
    low: float
    high: float

    @property
    def passes(self) -> bool:
        return self.means[OURS] <= cells.MEAN and self.high < 1

    @property
    def roomy(self) -> bool:
        return self.cell.fraction >= cells.ROOMY

    @property
    def misses_roomy(self) -> bool:
        return self.roomy and self.means[OURS] > cells.ROOMY_MEAN


def judge(cell: Cell, runs: Runs) -> Judged:
    means = {policy: _mean(ratios(runs, policy)) for policy in POLICIES}
    low, high = interval(ratios(runs, OURS))
    return Judged(cell, _mean([run[BASELINE] for run in runs]), means, low, high)


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Bootstrap interval of the mean; ratios are within a seed, so resampling seeds is paired."""
    dice = random.Random(0)
    means = sorted(_mean(dice.choices(values, k=len(values))) for _ in range(cells.RESAMPLES))
    tail = round((1 - cells.CONFIDENCE) / 2 * len(means))
    return means[tail], means[-1 - tail]


def table(judged: Sequence[Judged]) -> Iterator[str]:
    """One line a cell: means relative to the baseline, the interval of ours, baseline seconds."""
    rest = [name for name in POLICIES if name not in (BASELINE, OURS)]
    heads = "".join(f"{name:>10}" for name in rest)
    yield f"{'reload seconds / LRU by count':<20}{OURS:>11}{'95 % of it':>16}{heads}{'LRU s':>9}"
    for item in judged:
        yield _row(item, rest)
    overall = "".join(f"{_mean([j.means[name] for j in judged]):10.3f}" for name in rest)
    yield f"{'mean of all':<29}{_mean([j.means[OURS] for j in judged]):11.3f}{'':>16}{overall}"


def _row(item: Judged, rest: Sequence[str]) -> str:
    others = "".join(f"{item.means[name]:10.3f}" for name in rest)
    between = f"{item.low:.3f}-{item.high:.3f}"
    ours = f"{item.means[OURS]:11.3f}{between:>16}"
    return f"{item.cell.name:<29}{ours}{others}{item.baseline:9.0f}"


def verdict(judged: Sequence[Judged]) -> tuple[list[str], bool]:
    """The criteria of cells.py one by one, and whether all are met."""
    share = _mean([float(item.passes) for item in judged])
    worst = max(judged, key=lambda item: item.means[OURS])
    roomy = [item for item in judged if item.roomy]
    missed = [item for item in roomy if item.misses_roomy]
    first, third = share >= cells.SHARE, worst.means[OURS] <= cells.WORST
    lines = [
        f"{_word(first)}  mean <= {cells.MEAN} and interval below 1 in {share:.0%} of "
        f"{len(judged)} cells (at least {cells.SHARE:.0%})",
        f"{_word(not missed)}  mean <= {cells.ROOMY_MEAN} in {len(roomy) - len(missed)} of "
        f"{len(roomy)} cells with {cells.ROOMY:.0%} of the hot set or more (all)",
        *(f"        missed: {_miss(item)}" for item in missed),
        f"{_word(third)}  worst cell {worst.cell.name}: {worst.means[OURS]:.3f} "
        f"(at most {cells.WORST})",
    ]
    return lines, first and third and not missed


def _miss(item: Judged) -> str:
    offline = item.means[OFFLINE]
    return f"{item.cell.name}: {item.means[OURS]:.3f}; the offline reference {offline:.3f}"


def _word(passed: bool) -> str:
    return "met   " if passed else "MISSED"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
