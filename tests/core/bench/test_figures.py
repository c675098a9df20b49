"""Figures from what was seen, by hand."""

from array import array

import pytest

from embedwell.bench.figures import Checked, figures
from embedwell.bench.results import Failure, Latency
from embedwell.bench.window import Seen

MS = 1_000_000


def seen(*spans: tuple[int, int], closed: int = 1_000, **more: object) -> Seen:
    """Requests by begin and end in ms; the window opens at 0."""
    made = Seen(
        opened=0,
        closed=closed * MS,
        cpu=10 * MS,
        begun=array("q", [begun * MS for begun, _ in spans]),
        ended=array("q", [ended * MS for _, ended in spans]),
        tokens=array("q", [7] * len(spans)),
    )
    for name, value in more.items():
        setattr(made, name, value)
    return made


def test_latencies_are_by_nearest_rank() -> None:
    found = figures([Checked(seen(*((0, n) for n in range(1, 201))), 0, {})], 1)
    assert found.latency_ms == Latency(100, 190, 198, 200)
    assert figures([Checked(seen((0, 5)), 0, {})], 1).latency_ms == Latency(5, 5, 5, 5)


def test_what_ends_after_the_window_has_a_latency_but_no_part_in_the_rate() -> None:
    found = figures([Checked(seen((0, 400), (400, 1_000), (900, 1_500), closed=1_000), 0, {})], 3)
    assert found.requests == 3
    assert (found.requests_per_second, found.texts_per_second) == (2, 6)
    assert found.tokens_per_second == 14
    assert found.client_cpu_ms == 5
    assert found.latency_ms is not None
    assert found.latency_ms.max == 600


def test_rounds_are_pooled() -> None:
    windows = [
        Checked(seen((0, 10), failures={"timeout": 1}, limited=2), 1, {}),
        Checked(seen((0, 20), (0, 30), (0, 40), closed=3_000, limited=1), 3, {}),
    ]
    found = figures(windows, 1)
    assert (found.seconds, found.requests, found.requests_per_second) == (4, 4, 1)
    assert (found.errors, found.limited, found.checked) == (1, 3, 4)


def test_wrong_answers_are_errors_and_nothing_else() -> None:
    said = {"status 500": "out of order"}
    window = seen((0, 10), (0, 20), failures={"status 500": 3}, examples=said)
    found = figures([Checked(window, 2, {1: "a vector of 5 dimensions"})], 1)
    assert (found.requests, found.requests_per_second, found.errors) == (1, 1, 4)
    assert found.failures == (
        Failure("status 500", 3, "out of order"),
        Failure("wrong answer: a vector of 5 dimensions", 1, ""),
    )


@pytest.mark.parametrize("failures", [{}, {"timeout": 4}])
def test_without_an_answer_there_is_no_latency(failures: dict[str, int]) -> None:
    found = figures([Checked(seen(failures=failures), 0, {})], 1)
    assert (found.latency_ms, found.tokens_per_second, found.client_cpu_ms) == (None, None, None)
    assert (found.requests, found.errors) == (0, sum(failures.values()))
