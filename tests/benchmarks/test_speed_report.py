"""Tables, goals, progress and the command line of the comparison."""

import io
from pathlib import Path

import pytest
from msgspec import json, structs

from tests.benchmarks import speed_comparison
from tests.benchmarks.engines.catalogue import BASELINE
from tests.benchmarks.speed import tables
from tests.benchmarks.speed.document import document
from tests.benchmarks.speed.goals import GOALS, Goal
from tests.benchmarks.speed.machine import worked
from tests.benchmarks.speed.progress import Progress, Step
from tests.benchmarks.speed.results import Cost, Found, Load, Machine, Outcome, Texts
from tests.benchmarks.speed.texts import Pair, chosen, pairs, short

LOAD = Load("embedwell", "float32", 32, "all", 450.0, 18_000, 70.0, 90.0, 0, 0.09)
OUTCOME = Outcome(
    started="2026-01-02 03:04 UTC",
    command="make bench",
    seconds=300,
    machine=Machine("A Processor (family 1 model 2)", ["avx2"], 2, 8_000_000_000, "Linux", "3.11"),
    versions={"torch": "2.13"},
    texts=Texts("generated", 2_000, 80_000, 200),
    flops_per_token=20_000_000,
    limits={"fp32": 400.0},
    engines=[
        Found("ours fp32", "setup", seconds=[4, 5, 3], alone=[0.003], cosine_min=1, cosine_mean=1),
        Found("ours bf16", "setup", missing="no such precision"),
        Found(BASELINE, "setup", seconds=[20, 10, 16], alone=[0.008], cosine_min=1, cosine_mean=1),
    ],
    loads=[
        LOAD,
        structs.replace(LOAD, server="infinity", requests_per_second=50.0, tokens_per_second=None),
        structs.replace(LOAD, connections=1, texts="short", p50=3.5),
    ],
    absent={"another": "not here"},
    others=0.02,
    costs=[Cost("ours fp32", 1_000, 5e-5, 100), Cost("ours fp32", 100_000, 5.1e-5, 110)],
)


def goal(what: str, work: str | None = None) -> Goal:
    return next(g for g in GOALS if what in g.what and work in (None, g.work))


def test_a_rate_is_of_the_median_round_and_a_share_of_the_products_limit() -> None:
    assert OUTCOME.rate("ours fp32") == 20_000
    assert OUTCOME.share("ours fp32") == pytest.approx(1.0)
    assert OUTCOME.rate("ours bf16") is None


@pytest.mark.parametrize(
    ("what", "value", "reached"),
    [
        ("tokens/s", 20_000, True),
        (f"times {BASELINE}", 4, True),
        ("times onnxruntime", None, None),
        ("of the engine's", 0.9, True),
        ("times infinity", 9, False),
        ("ms over the engine", 0.5, True),
        ("more time a token", 0.02, True),
        ("more resident", 0.1, False),
    ],
)
def test_goals_are_reached_missed_or_not_measured(
    what: str, value: float | None, reached: bool | None
) -> None:
    assert goal(what).value(OUTCOME) == (value if value is None else pytest.approx(value))
    assert goal(what).reached(OUTCOME) is reached


def test_no_goal_is_reached_where_nothing_was_measured() -> None:
    empty = structs.replace(OUTCOME, engines=[], loads=[], costs=[], limits={})
    assert {goal.reached(empty) for goal in GOALS} == {None}


def test_a_table_is_aligned_markdown() -> None:
    assert list(tables.aligned(["name", "n"], [["a", "1"], ["longer", "1,000"]])) == [
        "| name   |     n |",
        "|--------|------:|",
        "| a      |     1 |",
        "| longer | 1,000 |",
    ]


def test_the_document_has_the_run_each_figure_and_what_was_not_there() -> None:
    text = document(OUTCOME, "benchmarks")
    for part in (
        "**Last run: 2026-01-02 03:04 UTC**", "`make bench`", "A Processor", "torch 2.13",
        "| ours fp32                  |   20,000 |     500 |",
        "* ours bf16: not available: no such precision", "* another: not available: not here",
        "fp32 400 GFLOP/s", "| reached |", "| missed |", "| not measured |",
        "![Engines compared](benchmarks-engines.png)",
    ):  # fmt: skip
        assert part.replace(" ", "") in text.replace(" ", ""), part


def test_a_disturbed_run_says_what_its_figures_are_worth() -> None:
    assert tables.disturbed(OUTCOME) == "Other processes used 2% of the processors meanwhile."
    assert "too low" in document(structs.replace(OUTCOME, others=0.3), "benchmarks")


def test_processors_that_wait_or_serve_guests_do_not_work_twice() -> None:
    assert worked("cpu  10 20 30 4000 500 6 7 8 9 9\ncpu0 1 1 1 1 1 1 1 1 1 1\n") == 81


def test_the_file_of_a_run_says_all_that_its_document_says() -> None:
    again = json.decode(json.encode(OUTCOME), type=Outcome)
    assert document(again, "benchmarks") == document(OUTCOME, "benchmarks")


def test_correlation_has_a_column_where_the_texts_are_pairs() -> None:
    assert not any("Spearman" in line for line in tables.engines(OUTCOME))
    judged = [structs.replace(found, correlation=0.8672) for found in OUTCOME.engines]
    lines = tables.engines(structs.replace(OUTCOME, engines=judged))
    assert "Spearman" in lines[0]
    assert "0.8672" in lines[2]


def test_progress_says_what_runs_and_learns_how_long_it_takes() -> None:
    stream, now = io.StringIO(), iter([0.0, 0.0, 65.0])
    steps = [Step("load", "b", 10), *(Step(f"round {n}", "b", 60) for n in (1, 2))]
    progress = Progress([*steps, Step("load", "gone", 500)], stream, lambda: next(now))
    progress.drop("gone")
    progress.begin("load", "b")
    progress.learn("b", 5)
    progress.begin("round 1", "b")
    assert (
        stream.getvalue() == "[0:00, about 2:10 left] load: b\n[1:05, about 0:10 left] round 1: b\n"
    )


def test_pairs_are_rows_of_two_texts_and_a_number(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text('one text,"another, text",4.5\n7,one text,1.0\n')
    assert pairs(path, chosen(path)) == [Pair("one text", "another, text", 4.5)]
    path.write_text("one text,another\n")
    assert pairs(path, chosen(path)) == []
    assert pairs(None, ["one text"]) == []


def test_short_texts_are_those_next_to_twelve_tokens() -> None:
    assert short(["a", "b", "c"], [40, 12, 10], 2) == ["b", "c"]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--texts", "no-such-file.txt"], "no-such-file.txt cannot be read"),
        (["--texts", __file__], "cannot read texts of this kind"),
        (["--rounds", "0"], "say a number from 1 to 20"),
        (["--rounds", "many"], "say a number from 1 to 20"),
    ],
)
def test_a_wrong_command_line_ends_with_2_and_the_reason(
    words: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        speed_comparison.parse(words)
    assert reason in capsys.readouterr().err


def test_a_run_on_a_file_is_repeatable_from_its_document_and_keeps_the_others(
    tmp_path: Path,
) -> None:
    path = tmp_path / "my texts.txt"
    path.write_text("one\ntwo\n")
    order = speed_comparison.order(speed_comparison.parse(["--texts", str(path), "--full"]))
    assert order.command == f"make bench TEXTS='{path.name}' FULL=1"
    assert list(order.texts) == ["one", "two"]
    assert speed_comparison.name_of(path) == "benchmarks-my-texts"
    assert speed_comparison.name_of(None) == "benchmarks"
