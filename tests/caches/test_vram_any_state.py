"""The strategy `vram_aware` in any state of the cache: nothing illegal, nobody evicted in vain."""

import math
from collections.abc import Sequence

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from embedwell import Admit, CacheState, Entry, Need, Refuse, Wait, Wanted
from embedwell_cache_vram.strategy import Config, VramAware
from embedwell_cache_vram.value import value

NOW = 1000.0
AWARE = VramAware(Config())


def state(entries: Sequence[Entry]) -> CacheState:
    return CacheState(100, tuple(entries), (), NOW, 0.0)


@st.composite
def situations(draw: st.DrawFn) -> tuple[Wanted, CacheState]:
    """Models within the budget, and one that fits an empty device."""
    entries: list[Entry] = []
    for i in range(draw(st.integers(0, 8))):
        one = Entry(
            key=f"key{i}",
            tag=f"tag{i}",
            need=Need(draw(st.integers(0, 40)), draw(st.integers(0, 20))),
            state=draw(st.sampled_from(["ready", "ready", "draining", "loading", "unloading"])),
            leases=draw(st.sampled_from([0, 0, 0, 1, 3])),
            last_used=draw(st.floats(0, NOW)),
            loaded_at=draw(st.floats(0, NOW)),
            rate=draw(st.sampled_from([0.0, 1e-300, 0.01, 5.0, 1e6])),
            load_seconds=draw(st.sampled_from([0.0, 0.5, 300.0])),
            pinned=draw(st.sampled_from([False, False, False, True])),
        )
        if state(entries).free_with(one.need) >= 0:
            entries.append(one)
    need = Need(draw(st.integers(0, 80)), draw(st.integers(0, 20)))
    asked = Wanted("new", "new", need, NOW, draw(st.booleans()))
    return asked, state(entries)


@given(situations())
def test_what_is_admitted_fits_and_nobody_leaves_in_vain(
    situation: tuple[Wanted, CacheState],
) -> None:
    asked, now = situation
    answer = AWARE.decide(asked, now)
    if isinstance(answer, Admit):
        gone = frozenset(answer.evict)
        assert gone <= {e.key for e in now.entries if e.evictable}
        assert now.free_with(asked.need, gone) >= 0
        assert all(now.free_with(asked.need, gone - {key}) < 0 for key in gone)
    if isinstance(answer, Wait):
        assert set(answer.drain) <= {e.key for e in now.entries if not e.pinned}
        assert not answer.drain or now.free_with(asked.need, frozenset(answer.drain)) >= 0
        assert answer.until is None or answer.until > now.now


@given(situations())
def test_a_demanded_model_is_refused_for_pinned_ones_only(
    situation: tuple[Wanted, CacheState],
) -> None:
    asked, now = situation
    asked = msgspec.structs.replace(asked, demand=True)
    if isinstance(AWARE.decide(asked, now), Refuse):
        unpinned = frozenset(e.key for e in now.entries if not e.pinned)
        assert now.free_with(asked.need, unpinned) < 0


@given(situations())
def test_a_preload_drains_nobody_and_spares_who_is_in_use(
    situation: tuple[Wanted, CacheState],
) -> None:
    asked, now = situation
    asked = msgspec.structs.replace(asked, demand=False)
    answer = AWARE.decide(asked, now)
    if isinstance(answer, Admit):
        gone = [e for e in now.entries if e.key in answer.evict]
        assert all(e.last_used + max(600.0, 2 * e.load_seconds) <= NOW for e in gone)
    assert not (isinstance(answer, Wait) and answer.drain)


@given(situations())
def test_equals_leave_in_order_of_worth(situation: tuple[Wanted, CacheState]) -> None:
    """Of models that take the same, none leaves while one worth less stays."""
    asked, now = situation
    same = [
        msgspec.structs.replace(e, need=Need(10, 1), state="ready", leases=0, pinned=False)
        for e in now.entries
    ]
    asked = msgspec.structs.replace(asked, demand=True)
    now = state(same)
    answer = AWARE.decide(asked, now)
    assert isinstance(answer, Admit)
    worth = {e.key: value(e, NOW, 600) for e in same}
    stays = [worth[key] for key in worth if key not in answer.evict]
    assert all(worth[key] <= min(stays, default=math.inf) for key in answer.evict)
