"""The simulator itself: its policies on requests that can be followed by hand."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from embedwell import Need
from tests.benchmarks.cache import cells
from tests.benchmarks.cache.cells import CELLS, JUDGING, LOADS, TUNING, Cell
from tests.benchmarks.cache.contest import BASELINE, OURS, POLICIES, average_count, compare
from tests.benchmarks.cache.loads import Case, Model, capacity_for, hot_set, make_case, make_models
from tests.benchmarks.cache.policies import CostBelady, Gdsf, LfuDa, LruByBytes, Sieve
from tests.benchmarks.cache.report import OFFLINE, Judged, interval, judge, table, verdict
from tests.benchmarks.cache.simulator import Policy, simulate
from tests.benchmarks.cache.traces import read_case
from tests.benchmarks.cache_simulation import main

SAMPLE = Path(__file__).parent / "cache" / "traces"


def case(requests: str, capacity: int, **models: tuple[int, float]) -> Case:
    """A request a minute; models as name=(bytes, load seconds)."""
    made = {name: Model(name, Need(size, 0), cost) for name, (size, cost) in models.items()}
    return Case(made, [(60.0 * i, name) for i, name in enumerate(requests)], capacity)


def loads(policy: Policy, given: Case) -> str:
    return "".join(change.loaded for change in simulate(given, policy).changes)


EQUAL = dict.fromkeys("ABCDE", (1, 2.0))


@pytest.mark.parametrize(
    ("make", "requests", "expected"),
    [
        (POLICIES[BASELINE], "ABCABAB", "ABCAB"),
        (lambda given: LruByBytes(given.capacity), "ABACAB", "ABCB"),
        (lambda given: LfuDa(given.capacity), "AAAABCBCA", "ABCBC"),
        (lambda given: LfuDa(given.capacity), "AABCBCBCA", "ABCBA"),
        (lambda given: Sieve(given.capacity), "ABACAD", "ABCD"),
        (CostBelady, "ABCABAB", "ABCB"),
    ],
    ids=["count", "bytes", "lfu-da", "ages", "sieve", "offline"],
)
def test_models_of_one_size(make: Callable[[Case], Policy], requests: str, expected: str) -> None:
    given = case(requests, 2, **EQUAL)
    assert loads(make(given), given) == expected


@pytest.mark.parametrize("make", [lambda given: Gdsf(given.capacity), CostBelady, POLICIES[OURS]])
def test_the_large_one_leaves_where_size_counts(make: Callable[[Case], Policy]) -> None:
    given = case("ALBA", 10, A=(1, 5.0), L=(9, 5.0), B=(1, 5.0))
    (last,) = [change for change in simulate(given, make(given)).changes if change.evicted]
    assert (last.loaded, last.evicted) == ("B", ("L",))


def test_time_is_spent_on_loads_alone() -> None:
    given = case("AABA", 1, **EQUAL)
    assert simulate(given, LruByBytes(1)).reload_seconds == 6.0


def test_more_than_the_device_holds_is_found() -> None:
    with pytest.raises(AssertionError, match="more than the device holds"):
        simulate(case("AB", 1, **EQUAL), LruByBytes(2))


# Cells


def test_seeds_for_judging_are_not_those_for_tuning() -> None:
    assert not set(TUNING) & set(JUDGING)
    assert len(CELLS) == len(LOADS) * 3 * 3


@pytest.mark.parametrize("load", LOADS)
def test_a_case_is_what_its_seed_says(load: cells.Load) -> None:
    cell = Cell(load, 0.9, 0.5)
    made = make_case(cell, 1)
    assert made == make_case(cell, 1)
    assert made != make_case(cell, 2)
    assert len(made.requests) == cells.REQUESTS
    assert [at for at, _ in made.requests] == sorted(at for at, _ in made.requests)
    assert len({name for _, name in made.requests}) > 20


@pytest.mark.parametrize("load", LOADS)
def test_every_policy_serves_every_load(load: cells.Load) -> None:
    made = make_case(Cell(load, 0.6, 0.25), 1)
    short = Case(made.models, made.requests[:300], made.capacity)
    seconds = compare(short)
    assert min(seconds, key=lambda name: seconds[name]) == OFFLINE


def test_the_hot_set_is_the_fewest_models_with_four_fifths_of_the_requests() -> None:
    assert hot_set({"a": 50, "b": 5, "c": 30, "d": 15}) == ["a", "c"]
    assert hot_set({"a": 50, "b": 5, "c": 29, "d": 16}) == ["a", "c", "d"]


def test_a_device_holds_the_largest_model_in_any_case() -> None:
    models = make_models(1)
    largest = max(model.need.weights + model.need.peak for model in models.values())
    assert capacity_for(models, list(models)[:1], 0.01) == largest


def test_as_many_models_as_fit_on_the_average() -> None:
    assert average_count(case("A", 10, A=(4, 1.0), B=(2, 1.0))) == 3


# The report


def judged(fraction: float, ours: float, offline: float = 0.5) -> Judged:
    run = dict.fromkeys(POLICIES, 100.0) | {OURS: 100 * ours, OFFLINE: 100 * offline}
    return judge(Cell("static", 0.9, fraction), [run, run])


def test_the_interval_holds_the_mean() -> None:
    low, high = interval([0.25, 0.5, 0.75])
    assert 0.25 <= low < 0.5 < high <= 0.75
    assert interval([0.5, 0.5]) == (0.5, 0.5)


@pytest.mark.parametrize(
    ("items", "passed", "told"),
    [
        ([judged(0.25, 0.9), judged(0.5, 0.8)], True, "100% of 2 cells"),
        ([judged(0.25, 0.96), judged(0.5, 0.8)], False, "50% of 2 cells"),
        ([judged(0.5, 0.9, offline=0.88)], False, "0.900; the offline reference 0.880"),
        ([judged(0.25, 1.03), *[judged(0.25, 0.9)] * 9], False, "1.030"),
    ],
)
def test_a_verdict_says_what_is_missed(items: Sequence[Judged], passed: bool, told: str) -> None:
    lines, verdict_passed = verdict(items)
    assert verdict_passed is passed
    assert told in "\n".join(lines)


def test_the_table_has_a_line_for_each_cell() -> None:
    lines = list(table([judged(0.25, 0.9), judged(0.5, 0.8)]))
    assert len(lines) == 4
    assert "0.900" in lines[1]


# Traces


def test_the_sample_trace_is_compared(capsys: pytest.CaptureFixture[str]) -> None:
    files = [str(SAMPLE / name) for name in ("sample_requests.csv", "sample_models.csv")]
    assert main(["--trace", files[0], "--models", files[1]]) == 0
    assert capsys.readouterr().out.count("vram_aware") == len(cells.FRACTIONS)


MODELS = "model,bytes,load_seconds\nA,100,2\n"


@pytest.mark.parametrize(
    ("requests", "models", "reason"),
    [
        ("seconds,model\n1,B\n", MODELS, "says nothing of B"),
        ("seconds,model\n", MODELS, "no requests"),
        ("seconds,model\nx,A\n", MODELS, "row 1: could not convert"),
        ("seconds,model\n-1,A\n", MODELS, "row 1: seconds must be"),
        ("seconds\n1\n", MODELS, "row 1: no model"),
        ("seconds,model\n1,A\n", "model,bytes\nA,5\n", "row 1: load_seconds must be"),
        ("seconds,model\n1,A\n", "model,bytes,load_seconds\nA,nan,1\n", "row 1: bytes must be"),
    ],
)
def test_a_bad_trace_is_told(tmp_path: Path, requests: str, models: str, reason: str) -> None:
    (tmp_path / "requests.csv").write_text(requests)
    (tmp_path / "models.csv").write_text(models)
    with pytest.raises(ValueError, match=reason):
        read_case(tmp_path / "requests.csv", tmp_path / "models.csv", 0.5)


@pytest.mark.parametrize("arguments", [["--trace", "x.csv"], ["--trace", "x", "--models", "y"]])
def test_a_trace_needs_both_files(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
