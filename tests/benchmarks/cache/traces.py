"""Requests recorded elsewhere, read from files."""

import csv
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from embedwell import Need
from tests.benchmarks.cache import cells
from tests.benchmarks.cache.loads import Case, Model, capacity_for, hot_set

LARGEST = 1e15  # of any number in a file
Row = Mapping[str, str | None]
T = TypeVar("T")


def read_case(trace: Path, models: Path, fraction: float) -> Case:
    """`trace` has rows `seconds,model`, `models` has `model,bytes,load_seconds`; # starts a note.

    Raises ValueError for rows that are not so, or a model of which nothing is said.
    """
    known = {model.name: model for model in _read(models, _model)}
    requests = sorted(_read(trace, _request))
    if not requests:
        raise ValueError(f"{trace.name} has no requests")
    if strange := sorted({name for _, name in requests} - known.keys()):
        raise ValueError(f"{models.name} says nothing of {', '.join(strange[:5])}")
    hot = hot_set(Counter(name for _, name in requests))
    return Case(known, requests, capacity_for(known, hot, fraction))


def _model(row: Row) -> Model:
    size = round(_number(row, "bytes", 1))
    seconds = _number(row, "load_seconds", 0.001)
    return Model(_name(row), Need(size, round(cells.PEAK * size)), seconds)


def _request(row: Row) -> tuple[float, str]:
    return _number(row, "seconds", 0), _name(row)


def _name(row: Row) -> str:
    name = row.get("model")
    if not name:
        raise ValueError("no model")
    return name


def _number(row: Row, column: str, least: float) -> float:
    text = row.get(column)
    value = float(text) if text else float("nan")
    if not least <= value <= LARGEST:
        raise ValueError(f"{column} must be a number of at least {least:g}")
    return value


def _read(path: Path, parse: Callable[[Row], T]) -> Iterator[T]:
    lines = [line for line in path.read_text().splitlines() if line and line[0] != "#"]
    for number, row in enumerate(csv.DictReader(lines), start=1):
        try:
            yield parse(row)
        except ValueError as error:
            raise ValueError(f"{path.name}, row {number}: {error}") from None
