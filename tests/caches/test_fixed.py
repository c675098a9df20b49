"""The strategy `fixed_size`: the contract, and least recently used."""

import pytest
from msgspec import ValidationError, convert, structs

from embedwell import Admit, CacheState, Entry, Need, Refuse, Wait, Wanted
from embedwell.testing import CacheStrategyContract
from embedwell_cache_fixed.strategy import Config, FixedSize


def entry(
    key: str,
    used: float,
    *,
    leases: int = 0,
    weights: int = 1,
    loaded: float = 0.0,
    pinned: bool = False,
) -> Entry:
    return Entry(
        key=key, tag=key, need=Need(weights, 1), state="ready", leases=leases, last_used=used,
        loaded_at=loaded, load_seconds=1.0, pinned=pinned,
    )  # fmt: skip


def state(*entries: Entry, budget: int = 100, now: float = 50.0) -> CacheState:
    return CacheState(budget, entries, (), now, 0.0)


def wanted(weights: int = 1, demand: bool = True) -> Wanted:
    return Wanted("new", "new", Need(weights, 1), 50.0, demand)


class TestContract(CacheStrategyContract):
    @pytest.fixture(params=[1, 3, 100])
    def strategy(self, request: pytest.FixtureRequest) -> FixedSize:
        return FixedSize(Config(max_models=request.param))


TWO = FixedSize(Config(max_models=2))


def test_the_least_recently_used_goes() -> None:
    answer = TWO.decide(wanted(), state(entry("old", 1.0), entry("young", 2.0)))
    assert answer == Admit(("old",))


def test_bytes_count_too() -> None:
    full = state(entry("a", 1.0, weights=40), entry("b", 2.0, weights=40), budget=90)
    assert FixedSize(Config(max_models=9)).decide(wanted(60), full) == Admit(("a", "b"))


def test_busy_models_are_drained_once_they_had_their_time() -> None:
    busy = state(entry("a", 1.0, leases=1), entry("b", 2.0, leases=1))
    assert TWO.decide(wanted(), busy) == Wait("busy models are drained", drain=("a",))


def test_a_model_just_loaded_keeps_its_time() -> None:
    busy = state(entry("a", 1.0, leases=1, loaded=49.0), entry("b", 2.0, leases=1, loaded=49.0))
    answer = TWO.decide(wanted(), busy)
    assert isinstance(answer, Wait)
    assert answer.drain == ()
    assert answer.until == 51.0


def test_an_idle_model_just_loaded_delays_no_drain() -> None:
    idle = entry("idle", 2.0, loaded=49.5, weights=40)
    full = state(entry("busy", 1.0, leases=1, weights=40), idle, budget=90)
    answer = TWO.decide(wanted(60), full)
    assert answer == Wait("busy models are drained", drain=("idle", "busy"))


def test_a_preload_drains_nobody() -> None:
    busy = state(entry("a", 1.0, leases=1), entry("b", 2.0, leases=1))
    assert isinstance(TWO.decide(wanted(demand=False), busy), Refuse)


def test_a_preload_takes_no_place_of_one_used_of_late() -> None:
    late = state(entry("a", 48.5), entry("b", 49.0))
    assert TWO.decide(wanted(), late) == Admit(("a",))
    answer = TWO.decide(wanted(demand=False), late)
    assert answer == Refuse("only models in recent use could make room", 30.0)
    earlier = state(entry("a", 48.0), entry("b", 49.0))
    assert TWO.decide(wanted(demand=False), earlier) == Admit(("a",))


def test_pinned_models_stay_and_say_so() -> None:
    pinned = state(entry("a", 1.0, pinned=True), entry("b", 2.0, leases=1, pinned=True))
    assert TWO.decide(wanted(), pinned) == Refuse("pinned models leave no room", 30.0)
    one_left = state(entry("a", 1.0, pinned=True), entry("b", 2.0))
    assert TWO.decide(wanted(), one_left) == Admit(("b",))


def test_who_is_on_the_way_is_waited_for() -> None:
    loading = structs.replace(entry("a", 1.0), state="loading")
    one = FixedSize(Config(max_models=1))
    for demand in (True, False):
        answer = one.decide(wanted(demand=demand), state(loading))
        assert answer == Wait("another model is on its way")


@pytest.mark.parametrize("count", [0, -1, 10_001, "5"])
def test_a_count_is_at_least_one(count: object) -> None:
    with pytest.raises(ValidationError):
        convert({"max_models": count}, Config)
