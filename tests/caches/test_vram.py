"""The strategy `vram_aware`: the contract, whose place is taken, and when."""

import math
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedwell import (
    Admit,
    CacheState,
    Entry,
    Need,
    Refuse,
    Review,
    Wait,
    Wanted,
)
from embedwell.config.load import load
from embedwell.errors import ConfigurationError
from embedwell.loader.load import load as load_plugins
from embedwell.testing import CacheStrategyContract
from embedwell_cache_vram.strategy import Config, VramAware
from embedwell_cache_vram.value import value

NOW = 1000.0
AWARE = VramAware(Config())


def entry(
    key: str,
    weights: int = 10,
    *,
    rate: float = 0.01,
    cost: float = 10.0,
    used: float = NOW,
    loaded: float = 0.0,
    leases: int = 0,
    pinned: bool = False,
    draining: bool = False,
) -> Entry:
    return Entry(
        key=key, tag=key, need=Need(weights, 1), state="draining" if draining else "ready",
        leases=leases, last_used=used, loaded_at=loaded, rate=rate, load_seconds=cost,
        pinned=pinned,
    )  # fmt: skip


def state(*entries: Entry, budget: int = 31, now: float = NOW) -> CacheState:
    return CacheState(budget, entries, (), now, 0.0)


def wanted(weights: int = 10, *, demand: bool = True) -> Wanted:
    return Wanted("new", "new", Need(weights, 1), NOW, demand)


class TestContract(CacheStrategyContract):
    @pytest.fixture(params=[Config(), Config(half_life_seconds=1, min_residency_factor=0)])
    def strategy(self, request: pytest.FixtureRequest) -> VramAware:
        return VramAware(request.param)


# Who leaves


def test_the_one_seldom_asked_for_leaves() -> None:
    full = state(entry("often", rate=0.5), entry("seldom", rate=0.001), entry("hot", rate=2.0))
    assert AWARE.decide(wanted(), full) == Admit(("seldom",))


def test_the_one_that_is_quickly_back_leaves() -> None:
    full = state(entry("slow", cost=60), entry("quick", cost=2), entry("middling", cost=30))
    assert AWARE.decide(wanted(), full) == Admit(("quick",))


def test_the_one_that_takes_much_leaves() -> None:
    full = state(entry("a small one", 10), entry("large", 20))
    assert AWARE.decide(wanted(), full) == Admit(("large",))


def test_who_is_not_needed_beside_a_larger_one_stays() -> None:
    full = state(entry("small", 5, rate=0.001), entry("large", 25, rate=0.01))
    assert AWARE.decide(wanted(20), full) == Admit(("large",))


def test_a_model_that_fell_silent_counts_for_less_than_its_rate_says() -> None:
    full = state(entry("silent", rate=0.3, used=NOW - 500), entry("a"), entry("b"))
    assert AWARE.decide(wanted(), full) == Admit(("silent",))


def test_a_load_that_nobody_timed_costs_what_its_bytes_say() -> None:
    gigabytes = [entry(key, 6 * 10**9, cost=cost) for key, cost in (("untimed", 0), ("timed", 3))]
    full = state(*gigabytes, budget=13 * 10**9)
    assert AWARE.decide(wanted(6 * 10**9), full) == Admit(("timed",))


def test_a_preloaded_model_is_no_more_idle_than_one_used_once_then() -> None:
    used = entry("used", rate=math.log(2) / 600, loaded=NOW - 50, used=NOW - 50)
    promised = entry("promised", rate=0.0, loaded=NOW - 50, used=NOW - 50)
    assert value(promised, NOW, 600) == pytest.approx(value(used, NOW, 600) * 2 ** (-50 / 600))


def test_a_peak_counts_once_and_leaves_with_its_model() -> None:
    spiky = msgspec.structs.replace(entry("spiky", 10, rate=0.5), need=Need(10, 15))
    full = state(spiky, entry("flat", 10, rate=0.5), budget=40)
    assert AWARE.decide(Wanted("new", "new", Need(15, 1), NOW), full) == Admit(("flat",))
    assert AWARE.decide(Wanted("new", "new", Need(24, 1), NOW), full) == Admit(("spiky",))


# When


def busy(key: str, *, loaded: float, cost: float = 10.0, leases: int = 1) -> Entry:
    return entry(key, 30, loaded=loaded, cost=cost, leases=leases)


def test_a_busy_model_is_drained_once_it_had_twice_its_load_time() -> None:
    answer = AWARE.decide(wanted(), state(busy("a", loaded=NOW - 20)))
    assert answer == Wait("busy models are drained", drain=("a",))


def test_not_before() -> None:
    answer = AWARE.decide(wanted(), state(busy("a", loaded=NOW - 15)))
    assert answer == Wait("busy models had too little time yet", until=NOW + 5)


def test_a_young_one_is_waited_for_where_idle_ones_alone_are_not_enough() -> None:
    young = entry("young", 15, loaded=NOW - 15, leases=1)
    answer = AWARE.decide(wanted(25), state(entry("idle", 15), young))
    assert answer == Wait("busy models had too little time yet", until=NOW + 5)


def test_an_idle_model_goes_at_once() -> None:
    assert AWARE.decide(wanted(), state(busy("a", loaded=NOW, leases=0))) == Admit(("a",))


def test_a_busy_model_that_had_its_time_goes_before_one_that_had_not() -> None:
    young = entry("young", 15, loaded=NOW - 1, leases=1, rate=0.001)
    old = entry("old", 15, loaded=NOW - 100, leases=1, rate=1.0)
    answer = AWARE.decide(wanted(), state(young, old))
    assert answer == Wait("busy models are drained", drain=("old",))


def test_idle_ones_wait_with_the_busy_one_that_they_leave_beside() -> None:
    answer = AWARE.decide(wanted(25), state(entry("idle", 15), entry("busy", 15, leases=1)))
    assert isinstance(answer, Wait)
    assert set(answer.drain) == {"idle", "busy"}


def test_the_one_that_drains_goes_on_draining() -> None:
    first = entry("first", 15, leases=1, rate=1.0, draining=True)
    second = entry("second", 15, leases=1, rate=0.001)
    answer = AWARE.decide(wanted(), state(first, second))
    assert answer == Wait("busy models are drained", drain=("first",))


@given(st.floats(0, 1e9), st.floats(0.001, 1e4), st.floats(0, 100), st.floats(0, 1))
def test_asked_again_at_until_it_does_not_say_the_same(
    loaded: float, cost: float, factor: float, part: float
) -> None:
    strategy = VramAware(Config(min_residency_factor=factor))
    holder = busy("a", loaded=loaded, cost=cost)
    now = loaded + part * factor * cost
    answer = strategy.decide(wanted(), state(holder, now=now))
    assert isinstance(answer, Wait)
    if answer.until is not None:
        assert answer.until > now
        again = strategy.decide(wanted(), state(holder, now=answer.until))
        assert again == Wait("busy models are drained", drain=("a",))


def test_memory_on_its_way_back_is_waited_for() -> None:
    leaving = msgspec.structs.replace(entry("leaving", 20), state="unloading")
    answer = AWARE.decide(wanted(), state(entry("a"), leaving))
    assert isinstance(answer, Wait)
    assert not answer.drain


def test_a_load_under_way_is_waited_for() -> None:
    loading = msgspec.structs.replace(entry("loading", 30), state="loading")
    assert isinstance(AWARE.decide(wanted(), state(loading)), Wait)


def test_pinned_models_are_told_of() -> None:
    answer = AWARE.decide(wanted(), state(entry("a", 30, pinned=True)))
    assert answer == Refuse("pinned models leave no room", retry_after=30.0)


# Preloads


def test_a_preload_takes_what_is_free() -> None:
    assert AWARE.decide(wanted(demand=False), state(entry("a"))) == Admit()


def test_a_preload_takes_the_place_of_what_nobody_uses() -> None:
    forgotten = entry("forgotten", 30, rate=1e-9, used=0.0, cost=1)
    assert AWARE.decide(wanted(demand=False), state(forgotten)) == Admit(("forgotten",))


@pytest.mark.parametrize(
    "holder",
    [
        entry("used lately", 30, rate=1e-9, used=NOW - 599),
        entry("loaded lately", 30, rate=1e-9, used=0.0, loaded=NOW - 599),
        entry("slow to load", 30, rate=1e-9, used=NOW - 700, cost=400.0),
        entry("held", 30, rate=1e-9, used=0.0, leases=1),
        entry("pinned", 30, rate=1e-9, used=0.0, pinned=True),
    ],
    ids=lambda holder: str(holder.key),
)
def test_but_not_of(holder: Entry) -> None:
    answer = AWARE.decide(wanted(demand=False), state(holder))
    assert answer == Refuse("only models in recent use could make room", retry_after=30.0)


def test_nor_of_what_is_worth_more_than_one_request() -> None:
    holder = entry("a", 30, rate=1.0, used=NOW - 700, cost=100.0)
    answer = AWARE.decide(wanted(demand=False), state(holder))
    assert answer == Refuse("what is loaded is used more", retry_after=30.0)


def test_nothing_leaves_unasked() -> None:
    assert AWARE.review(state(entry("a", used=0.0))) == Review()


# In the server


def test_it_is_installed_and_its_table_is_checked(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(
        '[cache]\nstrategy = "vram_aware"\n[cache.vram_aware]\nhalf_life_seconds = 60\n'
    )
    config = load(file, {}, {})
    chosen = load_plugins(config).strategy(config.cache.strategy)
    strategy = chosen.spec.build(chosen.config)
    assert isinstance(strategy, VramAware)
    assert strategy.half_life == 60


@pytest.mark.parametrize("line", ["half_life_seconds = 0", "min_residency_factor = -1", "x = 1"])
def test_a_wrong_table_is_told(tmp_path: Path, line: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(f'[cache]\nstrategy = "vram_aware"\n[cache.vram_aware]\n{line}\n')
    with pytest.raises(ConfigurationError, match=r"cache\.vram_aware"):
        load_plugins(load(file, {}, {}))
