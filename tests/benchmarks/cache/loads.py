"""Models and requests of a cell, drawn from its seed."""

import math
import random
from bisect import bisect
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate

from msgspec import Struct

from embedwell import Need
from tests.benchmarks.cache import cells
from tests.benchmarks.cache.cells import Cell


class Model(Struct, frozen=True):
    """What a model takes, and the seconds of its load."""

    name: str
    need: Need
    seconds: float


class Case(Struct, frozen=True):
    """Requests (arrival in seconds, model) for a device of `capacity` bytes."""

    models: Mapping[str, Model]
    requests: Sequence[tuple[float, str]]
    capacity: int


def make_case(cell: Cell, seed: int) -> Case:
    """The same for the same cell and seed, on every machine."""
    models = make_models(seed)
    names = list(models)
    weights = [1 / rank**cell.zipf for rank in range(1, len(names) + 1)]
    capacity = capacity_for(models, hot_set(dict(zip(names, weights, strict=True))), cell.fraction)
    dice = random.Random(f"{seed} {cell.load} {cell.zipf}")
    times = accumulate(dice.expovariate(1 / cells.GAP_SECONDS) for _ in range(cells.REQUESTS))
    draw = _Draw(dice, models, weights, capacity)
    picks = {
        "static": draw.static,
        "shift": draw.shift,
        "scan": draw.scan,
        "burst": draw.burst,
        "diurnal": draw.diurnal,
        "pingpong": draw.pingpong,
        "loop": draw.loop,
    }
    moments = list(times)
    return Case(models, list(zip(moments, picks[cell.load](moments), strict=True)), capacity)


def make_models(seed: int) -> dict[str, Model]:
    """By popularity, most popular first; sizes are dealt out at random."""
    dice = random.Random(f"{seed} models")
    sizes: list[float] = []
    for share, least, most in cells.SIZES:
        sizes += [dice.uniform(least, most) for _ in range(round(share * cells.MODELS))]
    dice.shuffle(sizes)
    return {f"m{i:02}": _model(f"m{i:02}", round(size)) for i, size in enumerate(sizes)}


def _model(name: str, size: int) -> Model:
    seconds = cells.START_SECONDS + size / cells.BYTES_A_SECOND
    return Model(name, Need(size, round(cells.PEAK * size)), seconds)


def hot_set(popularity: Mapping[str, float]) -> list[str]:
    """The fewest models, most popular first, that get HOT_SHARE of the requests."""
    order = sorted(popularity, key=lambda name: -popularity[name])
    shares = accumulate(popularity[name] for name in order)
    enough = cells.HOT_SHARE * sum(popularity.values())
    return order[: 1 + sum(share < enough for share in shares)]


def capacity_for(models: Mapping[str, Model], hot: Sequence[str], fraction: float) -> int:
    """That fraction of the hot set's bytes, and room for the largest model in any case."""
    needs = [models[name].need for name in hot]
    held = sum(need.weights for need in needs) + max(need.peak for need in needs)
    largest = max(model.need.weights + model.need.peak for model in models.values())
    return max(round(fraction * held), largest)


class _Draw:
    """The loads of cells.py; each takes the arrival times and gives the models' names."""

    def __init__(
        self,
        dice: random.Random,
        models: Mapping[str, Model],
        weights: Sequence[float],
        capacity: int,
    ) -> None:
        self._dice = dice
        self._models = models
        self._names = list(models)
        self._weights = weights
        self._cumulated = list(accumulate(weights))
        self._capacity = capacity

    def _pick(self) -> str:
        at = bisect(self._cumulated, self._dice.random() * self._cumulated[-1])
        return self._names[min(at, len(self._names) - 1)]

    def static(self, times: Sequence[float]) -> list[str]:
        return [self._pick() for _ in times]

    def shift(self, times: Sequence[float]) -> list[str]:
        picks: list[str] = []
        for i in range(len(times)):
            if i and i % (len(times) // (cells.SHIFTS + 1)) == 0:
                self._dice.shuffle(self._names)
            picks.append(self._pick())
        return picks

    def scan(self, times: Sequence[float]) -> list[str]:
        picks = self.static(times)
        for i in range(cells.SCANS):
            start = (2 * i + 1) * len(times) // (2 * cells.SCANS)
            picks[start : start + len(self._names)] = self._names
        return picks

    def burst(self, times: Sequence[float]) -> list[str]:
        picks: list[str] = []
        left, name = 0, ""
        for _ in times:
            if left == 0 and self._dice.random() < cells.BURST_STARTS:
                left, name = cells.BURST_LENGTH, self._dice.choice(self._names)
            if left and self._dice.random() < cells.BURST_SHARE:
                left -= 1
                picks.append(name)
            else:
                picks.append(self._pick())
        return picks

    def diurnal(self, times: Sequence[float]) -> list[str]:
        hours = [self._dice.uniform(0, math.tau) for _ in self._names]
        return [self._dice.choices(self._names, self._swung(at, hours))[0] for at in times]

    def _swung(self, at: float, hours: Sequence[float]) -> list[float]:
        angle = math.tau * at / cells.DAY_SECONDS
        return [
            weight * (1 + cells.DAY_SWING * math.sin(angle + hour))
            for weight, hour in zip(self._weights, hours, strict=True)
        ]

    def pingpong(self, times: Sequence[float]) -> list[str]:
        pair = sorted(self._names, key=lambda name: -self._models[name].need.weights)[:2]
        picks: list[str] = []
        for _ in times:
            if self._dice.random() < cells.PINGPONG_SHARE:
                pair.reverse()
                picks.append(pair[0])
            else:
                picks.append(self._pick())
        return picks

    def loop(self, times: Sequence[float]) -> list[str]:
        turns = self._turns()
        share = cells.LOOP_SHARE
        return [next(turns) if self._dice.random() < share else self._pick() for _ in times]

    def _turns(self) -> Iterator[str]:
        order = self._dice.sample(self._names, len(self._names))
        sizes = accumulate(self._models[name].need.weights for name in order)
        enough = cells.LOOP_BYTES * self._capacity
        ring = order[: 1 + sum(size < enough for size in sizes)]
        while True:
            yield from ring
