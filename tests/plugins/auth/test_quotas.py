"""Buckets: never more than they hold, and never shut for ever."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedwell import RateLimited
from embedwell_plugin_auth.config import Key
from embedwell_plugin_auth.quotas import MINUTE, Bucket, Quota

START = 1_000.0
LIMITS = st.integers(1, 1_000_000)
STEPS = st.lists(st.floats(0, 120, allow_nan=False), max_size=60)


@given(LIMITS, STEPS)
def test_no_more_pass_than_the_limit_allows(limit: int, steps: list[float]) -> None:
    bucket, now, passed = Bucket(limit, START), START, 0
    for step in steps:
        now += step
        for _ in range(50):  # as many as like to, at the same moment
            if not bucket.wait(now):
                bucket.spend(1, now)
                passed += 1
        assert passed <= limit + (now - START) * limit / MINUTE + 1e-3


@given(LIMITS, st.lists(st.tuples(st.floats(0, 120), st.integers(0, 10_000_000)), max_size=30))
def test_whoever_waits_as_told_is_let_in(limit: int, spent: list[tuple[float, int]]) -> None:
    bucket, now = Bucket(limit, START), START
    for step, amount in spent:
        now += step
        bucket.spend(amount, now)
        wait = bucket.wait(now)
        assert wait == 0 or bucket.wait(now + wait / 2) > 0
        now += wait + 0.001  # clients are told whole milliseconds, rounded up
        assert bucket.wait(now) == 0


@given(LIMITS, STEPS)
def test_an_idle_bucket_holds_a_minutes_worth(limit: int, steps: list[float]) -> None:
    bucket = Bucket(limit, START)
    now = START + sum(steps)
    assert bucket.wait(now) == 0
    bucket.spend(limit, now)
    assert bucket.wait(now) == pytest.approx(MINUTE / limit)


def quota(**limits: int) -> Quota:
    return Quota("ci", Key("sha256:" + 64 * "0", **limits), START)  # type: ignore[arg-type]


def test_requests() -> None:
    asked = quota(requests_per_minute=2)
    asked.admit(START, embeds=False)
    asked.admit(START, embeds=True)
    with pytest.raises(RateLimited) as caught:
        asked.admit(START, embeds=True)
    assert caught.value.message == 'The key "ci" has used up its 2 requests a minute'
    assert caught.value.retry_after == pytest.approx(30)
    asked.charge(10**9, START)
    asked.admit(START + 30.001, embeds=True)


def test_tokens_are_owed() -> None:
    asked = quota(tokens_per_minute=600)
    for _ in range(100):
        asked.admit(START, embeds=True)
    asked.charge(1_200, START)
    with pytest.raises(RateLimited) as caught:
        asked.admit(START, embeds=True)
    assert caught.value.message == 'The key "ci" has used up its 600 tokens a minute'
    assert caught.value.retry_after == pytest.approx(60.1)
    asked.admit(START, embeds=False)
    asked.admit(START + 60.101, embeds=True)


def test_who_is_refused_for_tokens_has_lost_no_request() -> None:
    asked = quota(requests_per_minute=1, tokens_per_minute=1)
    asked.charge(1, START)
    for _ in range(5):
        with pytest.raises(RateLimited, match="tokens a minute"):
            asked.admit(START, embeds=True)
    asked.admit(START + 61, embeds=True)


def test_no_limits() -> None:
    asked = quota()
    for _ in range(1_000):
        asked.admit(START, embeds=True)
        asked.charge(10**9, START)
