"""What a preload may cost; usage that survives; counters."""

import asyncio
from collections.abc import Callable

import pytest

from embedwell.cache.rates import Rates
from embedwell.cache.wishes import PRELOAD_PATIENCE, WISH, WISH_FAILED
from embedwell.errors import InvalidModel, OutOfMemory, PluginError
from embedwell.interfaces.caches import Admit, CacheState, Decision, Need, Review, Wait, Wanted
from embedwell.interfaces.events import LoadFailed
from embedwell.interfaces.status import CacheCounters
from tests.core.cache.cache_bench import Bench, settled
from tests.core.cache.fake_time import fake_time


class Says:
    """A strategy that admits what fits, and else answers what it was told."""

    def __init__(
        self, answer: Callable[[CacheState], Decision], review: Review | None = None
    ) -> None:
        self._answer = answer
        self._review = review or Review()

    def decide(self, wanted: Wanted, state: CacheState) -> Decision:
        fits = state.free_with(wanted.need) >= 0
        return Admit() if fits else self._answer(state)

    def review(self, state: CacheState) -> Review:
        return self._review


def everything(state: CacheState) -> Decision:
    return Admit(tuple(entry.key for entry in state.entries))


def crowded(answer: Callable[[CacheState], Decision]) -> Bench:
    bench = Bench(strategy=Says(answer))
    bench.loader.needs = dict.fromkeys("AB", Need(60, 5))
    bench.loader.seconds = {"A": 3.0}
    return bench


@fake_time
async def test_a_preload_never_evicts_what_was_used_of_late() -> None:
    async with crowded(everything) as bench:
        await bench.use("A")
        await asyncio.sleep(5.9)
        with pytest.raises(OutOfMemory, match=r"recent use could make room \(B\)$") as refused:
            await bench.preload("B")
        assert refused.value.retry_after
        assert not any(isinstance(event, LoadFailed) for event in bench.events)
        await asyncio.sleep(0.2)
        await bench.preload("B")
        assert bench.states() == {"B": "ready"}


@fake_time
async def test_a_request_does() -> None:
    async with crowded(everything) as bench:
        await bench.use("A")
        await bench.use("B")
        assert bench.states() == {"B": "ready"}


@fake_time
async def test_a_preload_drains_nobody() -> None:
    async with crowded(lambda s: Wait("busy", drain=tuple(e.key for e in s.entries))) as bench:
        await bench.hold("A")
        with pytest.raises(OutOfMemory, match="only busy models could make room"):
            await bench.preload("B")
        assert bench.states() == {"A": "ready"}


@fake_time
async def test_a_preload_waits_no_longer_than_allowed() -> None:
    async with crowded(lambda state: Wait("not now")) as bench:
        await bench.hold("A")
        began = bench.clock()
        with pytest.raises(OutOfMemory, match="no room came free for the preload"):
            await bench.preload("B")
        assert PRELOAD_PATIENCE <= bench.clock() - began <= PRELOAD_PATIENCE + 1


@fake_time
async def test_a_preload_that_a_request_joins_is_a_request_until_it_leaves() -> None:
    async with crowded(lambda state: Wait("not now")) as bench:
        await bench.hold("A")
        preload = asyncio.create_task(bench.preload("B"))
        request = asyncio.create_task(bench.use("B"))
        await asyncio.sleep(2 * PRELOAD_PATIENCE)
        assert not preload.done()
        request.cancel()
        with pytest.raises(OutOfMemory, match="preload"):
            await preload


@fake_time
async def test_a_pinned_model_is_not_drained() -> None:
    drain = Says(lambda s: Wait("busy", drain=tuple(e.key for e in s.entries)))
    async with Bench(strategy=drain, pinned="A") as bench:
        bench.loader.needs = dict.fromkeys("AB", Need(60, 5))
        await bench.hold("A")
        waits = asyncio.create_task(bench.use("B"))
        await asyncio.sleep(5)
        await bench.use("A")
        waits.cancel()


async def reviewed(bench: Bench, seconds: float = 0.0) -> None:
    """Time passes, and the strategy is asked again and again."""
    for _ in range(10):
        await asyncio.sleep(seconds / 10)
        bench.cache.poke()
        await settled()


@fake_time
async def test_a_wish_that_nothing_comes_of_is_passed_on_once_in_a_while() -> None:
    async with Bench(strategy=Says(everything, Review(load=("B",)))) as bench:
        await bench.use("A")
        await reviewed(bench, WISH_FAILED - 10)
        assert bench.wishes == ["B"]
        await reviewed(bench, 20)
        assert bench.wishes == ["B", "B"]


@fake_time
async def test_a_wish_for_what_loads_or_is_loaded_is_not_passed_on() -> None:
    async with Bench(strategy=Says(everything, Review(load=("A",)))) as bench:
        bench.loader.gate.clear()
        request = asyncio.create_task(bench.use("A"))
        await settled()
        assert bench.states() == {"A": "loading"}
        await reviewed(bench)
        bench.loader.gate.set()
        await request
        await reviewed(bench, 2 * WISH_FAILED)
        assert bench.wishes == []


@fake_time
async def test_a_wish_that_came_true_may_be_repeated_once_the_model_left() -> None:
    async with Bench(strategy=Says(everything, Review(load=("A",)))) as bench:
        await reviewed(bench)
        assert bench.wishes == ["A"]
        await bench.preload("A")
        await reviewed(bench)
        await bench.cache.clear()
        await reviewed(bench)
        assert bench.wishes == ["A"]
        await reviewed(bench, WISH)
        assert bench.wishes == ["A", "A"]


@fake_time
async def test_a_wish_that_fails_to_load_is_not_repeated_at_every_turn() -> None:
    async with Bench(strategy=Says(everything, Review(load=("A",)))) as bench:
        bench.loader.failures["A"] = [InvalidModel("broken")]
        await reviewed(bench)
        with pytest.raises(InvalidModel):
            await bench.preload("A")
        await reviewed(bench, WISH_FAILED / 2)
        assert bench.wishes == ["A"]
        await reviewed(bench, WISH_FAILED)
        assert bench.wishes == ["A", "A"]


@fake_time
async def test_a_preload_counts_as_no_use() -> None:
    async with Bench(keep_alive=100) as bench:
        bench.loader.seconds["A"] = 3.0
        await bench.preload("A")
        loaded = bench.resident("A").loaded_at
        assert bench.resident("A").last_used == loaded == bench.clock()
        await asyncio.sleep(50)
        await bench.preload("A")
        assert bench.resident("A").last_used == loaded
        await bench.use("A")
        used = bench.resident("A").last_used
        assert used > loaded
        await asyncio.sleep(40)
        await bench.preload("A")
        assert bench.resident("A").last_used == used
        await asyncio.sleep(61)
        assert bench.states() == {}, "preloads keep nothing alive"


@fake_time
async def test_an_answer_that_is_none_is_an_error_and_not_a_wait() -> None:
    none: Callable[[CacheState], Decision] = lambda state: None  # type: ignore[assignment,return-value]  # noqa: E731
    async with crowded(none) as bench:
        await bench.hold("A")
        with pytest.raises(Exception, match="the cache strategy raised"):
            await bench.use("B")


@fake_time
async def test_counters_tell_what_happened() -> None:
    async with Bench() as bench:
        bench.loader.failures["F"] = [InvalidModel("broken")]
        for name in "AABC":
            await bench.use(name)
        await bench.preload("C")
        with pytest.raises(InvalidModel):
            await bench.use("F")
        assert bench.cache.tally == CacheCounters(
            hits=1, misses=4, loads=3, evictions=2, load_failures=1
        )
        assert bench.resident("C").requests == 1
        assert bench.resident("C").last_used == bench.clock() - 1


@fake_time
async def test_the_seconds_of_an_earlier_load_are_known_while_it_loads() -> None:
    async with Bench() as bench:
        bench.loader.known_seconds["A"] = 7.0
        bench.loader.seconds["A"] = 3.0
        waits = asyncio.create_task(bench.use("A"))
        await settled()
        assert bench.resident("A").load_seconds == 7.0
        await waits
        assert bench.resident("A").load_seconds == pytest.approx(3.0)


class Watches(Says):
    """Keeps the rates that it saw, by tag."""

    half_life = 10.0

    def __init__(self) -> None:
        super().__init__(everything)
        self.rates: dict[str, float] = {}

    def review(self, state: CacheState) -> Review:
        self.rates |= {entry.tag: entry.rate for entry in state.entries}
        return Review()


@fake_time
async def test_usage_survives_an_eviction_and_fades_as_the_strategy_says() -> None:
    strategy = Watches()
    async with Bench(strategy=strategy) as bench:
        for _ in range(20):
            await bench.use("A")
        bench.cache.poke()
        await settled()
        before = strategy.rates["A"]
        await bench.cache.clear()
        strategy.rates.clear()
        await asyncio.sleep(10)
        await bench.preload("A")
        await settled()
        assert strategy.rates["A"] == pytest.approx(before / 2)


def test_rates_of_absent_models_are_bounded() -> None:
    rates = Rates(most=2)
    for key in ("a", "b", "a", "c"):
        rates.touch(key, 1.0)
    assert rates.of("a", 1.0) > rates.of("c", 1.0) > rates.of("b", 1.0) == 0.0


@pytest.mark.parametrize("stated", [0, -1.0, float("nan"), float("inf"), "600", None])
async def test_a_half_life_that_is_none_is_refused(stated: object) -> None:
    strategy = Says(everything)
    strategy.half_life = stated  # type: ignore[attr-defined]
    with pytest.raises(PluginError, match="Says has a half_life that is no positive number"):
        Bench(strategy=strategy)
