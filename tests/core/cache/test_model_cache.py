"""The model cache with a real event loop and fake loads."""

import asyncio
import logging
import random
from collections.abc import AsyncIterator

import pytest

from embedwell.cache.resident import Lease
from embedwell.errors import Draining, EmbedwellError, InvalidModel, ModelError, OutOfMemory
from embedwell.interfaces.caches import (
    Admit,
    CacheState,
    Decision,
    Need,
    Review,
    Wanted,
)
from embedwell.interfaces.encoders import DeviceOutOfMemory
from embedwell.interfaces.events import LoadFailed, ModelEvicted, ModelLoaded
from embedwell.testing import FakeEncoder
from embedwell_cache_fixed.strategy import Config, FixedSize
from tests.core.cache.cache_bench import Bench, settled, snapshot
from tests.core.cache.fake_time import fake_time


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    yield made
    await made.cache.aclose()


async def test_least_recently_used_leaves(bench: Bench) -> None:
    for name in "ABCAB":
        await bench.use(name)
    assert bench.loader.loads == list("ABCAB")
    for name in "BAB":
        await bench.use(name)
    assert len(bench.loader.loads) == 5
    evicted = [e.model for e in bench.events if isinstance(e, ModelEvicted)]
    assert evicted == list("ABC")


async def test_a_hundred_first_requests_load_once(bench: Bench) -> None:
    await asyncio.gather(*(bench.use("A") for _ in range(100)))
    assert bench.loader.loads == ["A"]
    assert sum(isinstance(e, ModelLoaded) for e in bench.events) == 1
    assert [r.leases for r in bench.cache.residents()] == [0]


async def test_the_log_tells_of_a_load_that_goes_on(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.loader.gate.clear()
    with caplog.at_level(logging.INFO, "embedwell.cache"):
        asked = asyncio.create_task(bench.use("A"))
        await settled()
    assert caplog.messages == ["loading A"]
    bench.loader.gate.set()
    await asked


async def test_who_leaves_while_it_loads_costs_the_others_nothing(bench: Bench) -> None:
    bench.loader.gate.clear()
    waiting = [asyncio.create_task(bench.use("A")) for _ in range(10)]
    await settled()
    waiting[0].cancel()
    bench.loader.gate.set()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert results[1:] == [None] * 9
    assert bench.loader.loads == ["A"]
    assert [r.leases for r in bench.cache.residents()] == [0]


async def test_who_leaves_in_the_moment_of_the_grant_leaves_no_lease(bench: Bench) -> None:
    bench.loader.gate.clear()
    task = asyncio.create_task(bench.use("A"))
    await settled()
    (resident,) = bench.cache.residents()
    bench.loader.gate.set()
    while not any(waiter.done() for waiter in resident.waiters) and resident.waiters:
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert resident.leases == 0


async def test_a_leased_model_is_never_evicted(bench: Bench) -> None:
    async with bench.cache.lease(snapshot("A"), "float32") as a:
        await bench.use("B")
        await bench.use("C")
        await bench.use("D")
        assert isinstance(a.encoder, FakeEncoder)
        assert not a.encoder.closed
    assert "A" in bench.states()


async def test_a_busy_model_is_drained_for_one_that_waits() -> None:
    bench = Bench(max_models=1)
    lease_a = bench.cache.lease(snapshot("A"), "float32")
    a = await lease_a.__aenter__()
    bench.clock.now += 10
    waits = asyncio.create_task(bench.use("B"))
    await settled()
    assert bench.states() == {"A": "draining", "B": "absent"}
    late = asyncio.create_task(bench.use("A"))  # takes no new lease: B is first
    await settled()
    assert isinstance(a, Lease)
    await lease_a.__aexit__(None, None, None)
    await waits
    bench.clock.now += 10
    bench.cache.poke()
    await late
    assert bench.loader.loads == ["A", "B", "A"]
    await bench.cache.aclose()


async def test_a_drain_that_is_no_longer_needed_ends() -> None:
    bench = Bench(max_models=1)
    async with bench.cache.lease(snapshot("A"), "float32"):
        bench.clock.now += 10
        waits = asyncio.create_task(bench.use("B"))
        await settled()
        waits.cancel()
        await settled()
        assert bench.states() == {"A": "ready"}
        await bench.use("A")
    await bench.cache.aclose()


async def test_one_larger_than_the_budget_is_refused_and_nothing_leaves(bench: Bench) -> None:
    await bench.use("A")
    bench.loader.needs["huge"] = Need(200, 1)
    with pytest.raises(OutOfMemory) as refused:
        await bench.use("huge")
    assert refused.value.retry_after is None
    assert "huge" in refused.value.message
    assert bench.states() == {"A": "ready"}


async def test_waiting_helps_where_others_took_the_memory(bench: Bench) -> None:
    bench.memory.others = 95
    with pytest.raises(OutOfMemory) as refused:
        await bench.use("A")
    assert refused.value.retry_after
    bench.memory.others = 0
    await bench.use("A")


async def test_a_failed_load_is_told_to_all_and_backs_off(bench: Bench) -> None:
    bench.loader.failures["A"] = [InvalidModel("broken"), RuntimeError("secret /path")]
    results = await asyncio.gather(*(bench.use("A") for _ in range(5)), return_exceptions=True)
    assert all(isinstance(result, InvalidModel) for result in results)
    assert bench.loader.loads == ["A"]
    bench.clock.now -= 1  # `use` lets one second pass
    with pytest.raises(InvalidModel):
        await bench.use("A")
    assert bench.loader.loads == ["A"], "not before the back-off ends"
    bench.clock.now += 5
    with pytest.raises(EmbedwellError, match=r"^Model loading failed: A$"):
        await bench.use("A")
    bench.clock.now += 5
    await bench.use("A")
    assert sum(isinstance(e, LoadFailed) for e in bench.events) == 2


async def test_out_of_memory_at_load_evicts_the_idle_and_tries_once_more(bench: Bench) -> None:
    await bench.use("A")
    bench.loader.failures["B"] = [DeviceOutOfMemory("full")]
    await bench.use("B")
    assert bench.loader.loads == ["A", "B", "B"]
    assert bench.states() == {"B": "ready"}
    bench.loader.failures["C"] = [DeviceOutOfMemory("full"), DeviceOutOfMemory("full")]
    with pytest.raises(OutOfMemory, match="Model loading failed"):
        await bench.use("C")


async def test_a_load_that_turns_out_larger_is_paid_for(bench: Bench) -> None:
    await bench.use("A")
    bench.loader.measured["B"] = Need(95, 2)
    await bench.use("B")
    assert bench.states() == {"B": "ready"}


async def test_or_undone(bench: Bench) -> None:
    async with bench.cache.lease(snapshot("A"), "float32"):
        bench.loader.measured["B"] = Need(95, 2)
        with pytest.raises(OutOfMemory, match="more memory than there is"):
            await bench.use("B")
    assert bench.memory.taken == 10
    assert bench.loader.unloads == 1


async def test_a_load_is_timed_without_its_wait(bench: Bench) -> None:
    for name in "AB":
        await bench.use(name)
    async with (
        bench.cache.lease(snapshot("A"), "float32"),
        bench.cache.lease(snapshot("B"), "float32"),
    ):
        waits = asyncio.create_task(bench.use("C"))
        await settled()
        bench.clock.now += 500
    await waits
    (c,) = [r for r in bench.cache.residents() if r.tag == "C"]
    assert c.load_seconds == 0


async def test_who_joins_as_the_last_one_leaves_is_served(bench: Bench) -> None:
    full = [bench.cache.lease(snapshot(name), "float32") for name in "AB"]
    for lease in full:
        await lease.__aenter__()
    leaver = asyncio.create_task(bench.use("C"))
    await settled()
    leaver.cancel()
    joiner = asyncio.create_task(bench.use("C"))
    await settled()
    for lease in full:
        await lease.__aexit__(None, None, None)
    bench.clock.now += 100
    bench.cache.poke()
    await joiner


class Broken:
    """A strategy that raises."""

    def decide(self, wanted: Wanted, state: CacheState) -> Decision:
        raise ZeroDivisionError

    def review(self, state: CacheState) -> Review:
        return Review()


class Stutter(FixedSize):
    """A strategy that names a victim twice."""

    def decide(self, wanted: Wanted, state: CacheState) -> Decision:
        answer = super().decide(wanted, state)
        return Admit(answer.evict * 2) if isinstance(answer, Admit) else answer


async def test_a_strategy_that_raises_fails_who_waits() -> None:
    bench = Bench(strategy=Broken())
    with pytest.raises(ModelError, match="the cache strategy raised"):
        await bench.use("A")
    await bench.cache.aclose()


async def test_a_victim_named_twice_is_evicted_once() -> None:
    bench = Bench(strategy=Stutter(Config(max_models=1)))
    for name in "AB":
        await bench.use(name)
    assert bench.states() == {"B": "ready"}
    await bench.cache.aclose()


async def test_closing_tells_everyone_who_waits() -> None:
    bench = Bench(max_models=1)
    async with bench.cache.lease(snapshot("A"), "float32"):
        bench.clock.now += 10
        waits = []
        for name in "BA":
            waits.append(asyncio.create_task(bench.use(name)))
            await settled()
        assert bench.states()["A"] == "draining"
        await bench.cache.aclose()
        results = await asyncio.gather(*waits, return_exceptions=True)
        assert [type(result) for result in results] == [Draining, Draining]
        with pytest.raises(Draining):
            await bench.use("A")


@fake_time
async def test_random_use_keeps_the_ledger() -> None:
    for seed in range(40):
        dice = random.Random(seed)
        async with Bench(max_models=dice.randrange(1, 5)) as bench:
            needs = {n: Need(dice.randrange(5, 60), dice.randrange(1, 20)) for n in "ABCDEFGH"}
            bench.loader.needs = needs
            bench.loader.measured = {
                n: Need(max(1, need.weights + dice.randrange(-3, 4)), need.peak)
                for n, need in needs.items()
            }
            await asyncio.gather(*(random_client(bench, dice) for _ in range(6)))
            assert all(r.leases == 0 for r in bench.cache.residents())


async def random_client(bench: Bench, dice: random.Random) -> None:
    for _ in range(10):
        try:
            async with bench.cache.lease(snapshot(dice.choice("ABCDEFGH")), "float32") as lease:
                assert isinstance(lease.encoder, FakeEncoder)
                for _ in range(dice.randrange(5)):
                    await asyncio.sleep(dice.random())
                    assert not lease.encoder.closed
                    held = [r for r in bench.cache.residents() if r.encoder is not None]
                    peak = max(r.need.peak for r in held)
                    assert sum(r.need.weights for r in held) + peak <= 100
        except OutOfMemory:
            await asyncio.sleep(1)
        if dice.random() < 0.2:
            bench.memory.others = dice.choice([0, 0, 10, 30])
