"""How often the device is measured, what a strategy sees, and what one that raises leaves."""

import asyncio

import pytest

from embedwell.cache.books import FRESH
from embedwell.errors import ModelError, OutOfMemory
from embedwell.interfaces.caches import Admit, CacheState, Decision, Need, Review, Wait, Wanted
from embedwell.interfaces.encoders import Memory
from embedwell.testing import FakeMemory
from tests.core.cache.cache_bench import Bench, settled
from tests.core.cache.fake_time import fake_time


class Drains:
    """Drains everything for whoever finds no room, until it breaks."""

    def __init__(self) -> None:
        self.broken = False
        self.seen: list[CacheState] = []

    def decide(self, wanted: Wanted, state: CacheState) -> Decision:
        self.seen.append(state)
        if self.broken:
            raise ZeroDivisionError
        if state.free_with(wanted.need) >= 0:
            return Admit()
        return Wait("busy", drain=tuple(entry.key for entry in state.entries))

    def review(self, state: CacheState) -> Review:
        return Review()


@fake_time
async def test_a_strategy_that_raises_leaves_nothing_draining() -> None:
    strategy = Drains()
    async with Bench(strategy=strategy) as bench:
        bench.loader.needs = dict.fromkeys("AB", Need(60, 5))
        await bench.hold("A")
        starved = asyncio.create_task(bench.use("B"))
        await settled()
        assert bench.states()["A"] == "draining"
        late = asyncio.create_task(bench.use("A"))
        await settled()
        strategy.broken = True
        bench.cache.poke()
        await asyncio.sleep(0)
        assert bench.states()["A"] == "ready", "at once: who waits next may make it raise again"
        await late
        with pytest.raises(ModelError, match="the cache strategy raised"):
            await starved


class Odd(FakeMemory):
    """A driver that may answer anything."""

    answer: object = None

    def measure(self) -> Memory:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer  # type: ignore[return-value]


@fake_time
async def test_whatever_fails_nobody_is_left_waiting() -> None:
    async with Bench() as bench:
        memory = bench.cache._books._memory = Odd()
        with pytest.raises(ModelError, match="the model cache failed, see the server's log"):
            await asyncio.wait_for(bench.use("A"), 10)
        memory.answer = Memory(100, 100)
        await asyncio.sleep(10)
        await asyncio.wait_for(bench.use("A"), 10)


@fake_time
async def test_after_a_failure_memory_is_looked_at_again_unasked() -> None:
    async with Bench() as bench:
        await bench.use("A")
        memory = bench.cache._books._memory = Odd()
        await asyncio.sleep(20)
        memory.answer = Memory(100, 0)
        await asyncio.sleep(20)
        assert bench.states() == {}, "others took all of it"


@fake_time
async def test_a_driver_may_raise_anything() -> None:
    async with Bench() as bench:
        memory = bench.cache._books._memory = Odd()
        memory.answer = ValueError("not enough values to unpack")
        with pytest.raises(OutOfMemory, match="cannot be measured"):
            await asyncio.wait_for(bench.use("A"), 10)


class Counted(FakeMemory):
    measured = 0

    def measure(self) -> Memory:
        self.measured += 1
        return super().measure()


@fake_time
async def test_the_device_is_measured_once_for_all_who_wait() -> None:
    strategy = Drains()
    async with Bench(strategy=strategy) as bench:
        memory = bench.cache._books._memory = Counted(100)
        bench.loader.needs = {name: Need(60, 5) for name in "ABCDEFGHIJ"}
        await bench.hold("A")
        waits = [asyncio.create_task(bench.use(name)) for name in "BCDEFGHIJ"]
        await settled()
        before = memory.measured
        bench.clock.now += FRESH
        strategy.seen.clear()
        bench.cache.poke()
        await settled()
        assert memory.measured == before + 1
        assert len(strategy.seen) == 9
        assert len({id(state) for state in strategy.seen}) == 1, "nothing changed in between"
        for task in waits:
            task.cancel()


@fake_time
async def test_requests_that_end_while_somebody_waits_measure_no_more_than_time_does() -> None:
    async with Bench(strategy=Drains()) as bench:
        memory = bench.cache._books._memory = Counted(100)
        bench.loader.needs = {"A": Need(60, 5), "B": Need(30, 5), "C": Need(60, 5)}
        await bench.hold("A")
        await bench.use("B")
        waits = asyncio.create_task(bench.use("C"))
        await settled()
        bench.clock.now += FRESH
        before = memory.measured
        for _ in range(20):
            bench.cache._asking.released(bench.resident("B"))
            await settled()
        assert memory.measured == before + 1
        waits.cancel()


@fake_time
async def test_what_a_model_gave_back_is_measured_at_once() -> None:
    async with Bench() as bench:
        memory = bench.cache._books._memory = Counted(100)
        await bench.use("A")
        bench.cache.poke()
        await settled()
        before = memory.measured
        await bench.cache.clear()
        await settled()
        assert memory.measured == before + 1


@fake_time
async def test_who_is_asked_for_next_sees_what_was_admitted() -> None:
    strategy = Drains()
    async with Bench(strategy=strategy) as bench:
        bench.loader.needs = dict.fromkeys("AB", Need(60, 5))
        both = [asyncio.create_task(bench.use(name)) for name in "AB"]
        await settled()
        first, second, *_ = strategy.seen
        assert [entry.tag for entry in first.entries] == []
        assert [entry.tag for entry in second.entries] == ["A"]
        await both[0]
        both[1].cancel()


@fake_time
async def test_who_left_is_forgotten_while_the_load_goes_on() -> None:
    async with Bench() as bench:
        bench.loader.gate.clear()
        stays = asyncio.create_task(bench.use("A"))
        leavers = [asyncio.create_task(bench.use("A")) for _ in range(20)]
        await settled()
        for task in leavers:
            task.cancel()
        await settled()
        assert len(bench.resident("A").waiters) == 1
        bench.loader.gate.set()
        await stays
