"""The plan: budgets, fairness, nothing forgotten."""

from hypothesis import given
from hypothesis import strategies as st

from embedwell.batching.plan import Limits, cost, fill, halves, reach, shared, smaller

LENGTHS = st.lists(st.integers(1, 600), max_size=12)
REQUESTS = st.lists(LENGTHS, min_size=1, max_size=8)


@given(REQUESTS, st.integers(1, 2000), st.booleans())
def test_a_plan_never_passes_its_budget_but_by_one_long_sequence(
    requests: list[list[int]], budget: int, packed: bool
) -> None:
    limits = Limits(budget, packed)
    taken = fill(requests, limits)
    chosen = [n for lengths, count in zip(requests, taken, strict=True) for n in lengths[:count]]
    assert bool(chosen) == any(requests)
    assert len(chosen) <= 1 or cost(chosen, limits) <= budget


@given(REQUESTS, st.integers(1, 2000))
def test_shares_differ_by_one_unless_a_request_has_no_more(
    requests: list[list[int]], budget: int
) -> None:
    taken = fill(requests, Limits(budget))
    most = max(taken[1:], default=0)  # the first is the oldest, which has half for itself
    for lengths, count in zip(requests, taken, strict=True):
        assert count >= min(most - 1, len(lengths))


def test_the_oldest_has_half_of_the_budget() -> None:
    assert fill([[10] * 9, [10] * 9, [10] * 9], Limits(100), oldest=1) == [2, 7, 1]


def test_one_text_shares_the_first_batch_with_two_thousand() -> None:
    assert fill([[10] * 2048, [10]], Limits(100)) == [9, 1]


def test_padding_counts_where_batches_are_padded() -> None:
    assert cost([10, 2, 2], Limits(100, packed=False)) == 30
    assert fill([[10, 2, 2, 2]], Limits(30, packed=False)) == [3]


def test_models_that_cannot_share_run_one_by_one() -> None:
    assert fill([[1, 1], [1]], Limits(100, single=True)) == [1, 0]


@given(st.lists(st.integers(), min_size=2))
def test_halves_lose_nothing(items: list[int]) -> None:
    left, right = halves(items)
    assert [*left, *right] == items
    assert left
    assert right


def test_a_budget_after_a_failure_is_smaller() -> None:
    assert smaller(100) == 50
    assert smaller(1) == 1


@given(st.lists(st.lists(st.integers(1, 60), min_size=1, max_size=4), min_size=1, max_size=30), st.integers(1, 200), st.booleans(), st.booleans(), st.data())  # fmt: skip
def test_those_out_of_reach_would_have_got_nothing(
    requests: list[list[int]], budget: int, packed: bool, single: bool, data: st.DataObject
) -> None:
    oldest = data.draw(st.integers(0, len(requests) - 1))
    limits = Limits(budget, packed, single)
    all_of_them = fill(requests, limits, oldest)
    near = reach((lengths[0] for lengths in requests), budget)
    assert all(not count for i, count in enumerate(all_of_them) if i >= near and i != oldest)
    if oldest < near:
        assert fill(requests[:near], limits, oldest) == all_of_them[:near]
    else:
        few = [*requests[:near], requests[oldest]]
        assert fill(few, limits, near) == [*all_of_them[:near], all_of_them[oldest]]


@given(st.integers(0, 5000), st.integers(1, 4000), st.integers(1, 9), st.integers(1, 600))
def test_threads_share_what_waits(waiting: int, budget: int, threads: int, least: int) -> None:
    own = shared(waiting, Limits(budget), threads, least).budget
    assert own <= budget
    assert own == budget or own >= least
    assert own == budget or own * threads >= waiting, "nothing is left that nobody takes"
    assert own <= max(least, waiting // threads + 1)
