"""What every source and every cache strategy must keep: subclass and define the fixture."""

import asyncio
import random
from collections.abc import Sequence

from embedwell.errors import EmbedwellError, ReadOnly
from embedwell.interfaces.caches import (
    Admit,
    CacheState,
    CacheStrategy,
    Decision,
    Entry,
    Need,
    Refuse,
    Review,
    Wait,
    Wanted,
)
from embedwell.interfaces.models import Fetch, ModelRef, Snapshot, Source

try:
    import pytest
except ModuleNotFoundError as missing:
    if missing.name != "pytest":
        raise
    why = 'embedwell.testing needs pytest: pip install "embedwell[testing]"'
    raise ImportError(why) from None


class SourceCase:
    """A source with a model that it serves, and the name of one that it does not."""

    def __init__(self, source: Source, present: ModelRef, absent: ModelRef | None = None) -> None:
        self.source = source
        self.present = present
        self.absent = absent or ModelRef("nobody/has-this-model")


class SourceContract:
    """Define a fixture `case` that returns a SourceCase."""

    async def test_an_unknown_model_is_none(self, case: SourceCase) -> None:
        assert await case.source.resolve(case.absent) is None

    async def test_a_known_model_is_a_complete_folder_of_its_own(self, case: SourceCase) -> None:
        snapshot = await self._snapshot(case)
        assert snapshot.key.name == case.present.name
        assert snapshot.key.revision
        assert snapshot.digest
        assert (snapshot.path / "config.json").is_file()

    async def test_the_answer_is_stable(self, case: SourceCase) -> None:
        assert await self._snapshot(case) == await self._snapshot(case)

    async def test_the_revision_finds_it_again(self, case: SourceCase) -> None:
        snapshot = await self._snapshot(case)
        again = await case.source.resolve(_pinned(snapshot))
        assert again is not None
        assert again.key == snapshot.key

    async def test_listed_models_are_local_and_resolve(self, case: SourceCase) -> None:
        await self._snapshot(case)
        for snapshot in await case.source.models():
            assert isinstance(snapshot, Snapshot)
            assert await asyncio.to_thread(snapshot.path.is_dir)
            again = await case.source.resolve(_pinned(snapshot))
            assert isinstance(again, Snapshot)
            assert again.key == snapshot.key

    async def test_deleting_an_absent_model_is_an_error(self, case: SourceCase) -> None:
        with pytest.raises(EmbedwellError):
            await case.source.delete(case.absent)

    async def test_a_deleted_model_is_gone_and_a_read_only_one_stays(
        self, case: SourceCase
    ) -> None:
        snapshot = await self._snapshot(case)
        try:
            await case.source.delete(case.present)
        except ReadOnly:
            assert await self._snapshot(case) == snapshot
        else:
            assert snapshot.key not in [row.key for row in await case.source.models()]
            for ref in (case.present, _pinned(snapshot)):  # it may offer to fetch it again
                assert not isinstance(await case.source.resolve(ref), Snapshot)

    async def _snapshot(self, case: SourceCase) -> Snapshot:
        answer = await case.source.resolve(case.present)
        if isinstance(answer, Fetch):
            answer = await answer.run(lambda done, total: None)
        assert isinstance(answer, Snapshot)
        return answer


def _pinned(snapshot: Snapshot) -> ModelRef:
    return ModelRef(snapshot.key.name, snapshot.key.revision)


class CacheStrategyContract:
    """Define a fixture `strategy`; the rest is states, made at random from fixed seeds."""

    SEEDS = range(200)

    def test_an_empty_device_admits_what_fits(self, strategy: CacheStrategy) -> None:
        wanted = Wanted("a", "a", Need(10, 5), since=0.0)
        assert strategy.decide(wanted, _state([], 100)) == Admit()

    def test_the_same_question_has_the_same_answer(self, strategy: CacheStrategy) -> None:
        for wanted, state in map(_situation, self.SEEDS):
            assert strategy.decide(wanted, state) == strategy.decide(wanted, state)

    def test_decisions_are_legal(self, strategy: CacheStrategy) -> None:
        for wanted, state in map(_situation, self.SEEDS):
            self._check(strategy.decide(wanted, state), wanted, state)

    def _check(self, decision: Decision, wanted: Wanted, state: CacheState) -> None:
        match decision:
            case Admit(evict=()):
                assert state.free_with(wanted.need) >= 0
            case Admit(evict=keys):
                assert len(set(keys)) == len(keys)
                assert set(keys) <= {e.key for e in state.entries if e.evictable}
            case Wait(drain=drain, until=until):
                assert set(drain) <= {e.key for e in state.entries if not e.pinned}
                assert until is None or until > state.now, "until must be in the future"
                assert drain or until is not None or _something_moves(state), "waits for nothing"
            case Refuse(reason=reason):
                assert reason

    def test_memory_that_others_take_is_no_surprise(self, strategy: CacheStrategy) -> None:
        """What is loaded may exceed the budget; what is wanted fits it by itself."""
        for wanted, state in map(_situation, self.SEEDS):
            budget = max(wanted.need.weights + wanted.need.peak, state.budget // 2)
            less = _state(state.entries, budget, state.now)
            self._check(strategy.decide(wanted, less), wanted, less)

    def test_a_preload_costs_no_model_in_use(self, strategy: CacheStrategy) -> None:
        """None that is leased, and none that was used within twice its own load seconds."""
        for wanted, state in map(_situation, self.SEEDS):
            preload = Wanted(wanted.key, wanted.tag, wanted.need, wanted.since, demand=False)
            decision = strategy.decide(preload, state)
            self._check(decision, preload, state)
            match decision:
                case Admit(evict=keys):
                    assert not set(keys) & {e.key for e in state.entries if _recent(e, state.now)}
                case Wait(drain=drain):
                    assert not drain, "a preload drains nobody"

    def test_asking_again_after_each_eviction_settles(self, strategy: CacheStrategy) -> None:
        for wanted, state in map(_situation, self.SEEDS):
            for _ in range(20):
                decision: Decision = strategy.decide(wanted, state)
                if not (isinstance(decision, Admit) and decision.evict):
                    break
                left = [e for e in state.entries if e.key not in decision.evict]
                state = _state(left, state.budget, state.now)  # noqa: PLW2901
            else:
                pytest.fail("the strategy evicts for ever")

    def test_a_review_is_legal(self, strategy: CacheStrategy) -> None:
        for _, state in map(_situation, self.SEEDS):
            review = strategy.review(state)
            assert isinstance(review, Review)
            assert set(review.evict) <= {e.key for e in state.entries if e.evictable}
            assert review.until is None or review.until > state.now


def _recent(entry: Entry, now: float) -> bool:
    return now - entry.last_used < 2 * entry.load_seconds


def _something_moves(state: CacheState) -> bool:
    return any(e.leases or e.state != "ready" for e in state.entries)


def _state(entries: Sequence[Entry], budget: int, now: float = 100.0) -> CacheState:
    return CacheState(budget, tuple(entries), (), now, 1_700_000_000.0)


def _situation(seed: int) -> tuple[Wanted, CacheState]:
    """A wanted model that fits an empty device, and some that hold memory, within the budget."""
    dice = random.Random(seed)
    budget, entries = 100, list[Entry]()
    for i in range(dice.randrange(8)):
        need = Need(dice.randrange(1, 30), dice.randrange(1, 10))
        if _state(entries, budget).free_with(need) >= 0:
            entries.append(_entry(dice, i, need))
    need = Need(dice.randrange(1, 80), dice.randrange(1, 20))
    return Wanted("wanted", "wanted", need, since=99.0), _state(entries, budget)


def _entry(dice: random.Random, i: int, need: Need) -> Entry:
    loading = dice.random() < 0.15
    used = dice.uniform(0, 100)
    return Entry(
        key=f"key{i}",
        tag=f"tag{i}",
        need=need,
        state="loading" if loading else dice.choice(["ready", "ready", "draining"]),
        leases=0 if loading else dice.choice([0, 0, 1, 5]),
        last_used=used,
        loaded_at=dice.uniform(0, used),
        rate=dice.random(),
        load_seconds=dice.choice([0.0, 1.0, 40.0]),
        pinned=dice.random() < 0.1,
    )
