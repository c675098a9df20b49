"""What the cache does where memory is short, taken by others, or not to be measured."""

import asyncio

import pytest

from embedwell.cache import ledger
from embedwell.cache.asking import ASK_AGAIN
from embedwell.cache.books import LATE, QUIET
from embedwell.errors import OutOfMemory
from embedwell.interfaces.caches import CacheState, Entry, Need
from embedwell.interfaces.encoders import DeviceOutOfMemory, Memory
from embedwell.interfaces.status import MemoryInfo
from embedwell.testing import FakeEncoder, FakeMemory
from tests.core.cache.cache_bench import Bench, settled
from tests.core.cache.fake_time import fake_time


@fake_time
async def test_a_model_in_use_keeps_its_memory_until_its_batch_ends() -> None:
    async with Bench() as bench:
        bench.loader.needs = {"A": Need(60, 5), "B": Need(60, 5)}
        lease = await bench.hold("A")
        waits = asyncio.create_task(bench.use("B"))
        await asyncio.sleep(100)
        assert isinstance(lease.encoder, FakeEncoder)
        assert not lease.encoder.closed
        assert not waits.done()
        await bench.held.aclose()
        await waits
        assert bench.loader.loads == ["A", "B"]


@fake_time
async def test_memory_that_others_take_is_given_up_at_once_and_comes_back() -> None:
    async with Bench(max_models=5) as bench:
        bench.loader.needs = {name: Need(20, 5) for name in "ABC"}
        for name in "ABC":
            await bench.use(name)
        await asyncio.sleep(LATE)
        bench.memory.others = 50
        bench.cache.poke()
        await settled()
        assert bench.evicted() == ["A"], "the least recently used, and no more than is needed"
        bench.memory.others = 80
        await asyncio.sleep(20)
        assert bench.states() == {}
        with pytest.raises(OutOfMemory, match=r"needs 0\.00 GB") as refused:
            await bench.use("A")
        assert refused.value.retry_after
        bench.memory.others = 0
        for name in "ABC":
            await bench.use(name)
        assert len(bench.states()) == 3


@fake_time
async def test_who_is_leased_stays_whatever_others_take() -> None:
    async with Bench() as bench:
        await bench.hold("A")
        bench.memory.others = 95
        await asyncio.sleep(60)
        assert bench.states() == {"A": "ready"}


@fake_time
async def test_who_waits_for_memory_of_others_is_asked_again_without_an_event() -> None:
    async with Bench(max_models=5) as bench:
        bench.loader.needs = {"A": Need(30, 5), "B": Need(50, 5)}
        await bench.hold("A")
        bench.memory.others = 30
        waits = asyncio.create_task(bench.use("B"))
        await asyncio.sleep(22)
        assert not waits.done()
        bench.memory.others = 0
        began = bench.clock()
        await waits
        assert bench.clock() - began <= ASK_AGAIN + 0.1


@fake_time
async def test_memory_that_comes_back_late_is_waited_for() -> None:
    async with Bench() as bench:
        bench.loader.needs = {"A": Need(70, 5), "B": Need(80, 5)}
        await bench.use("A")
        bench.memory.others = 0

        def lingers(encoder: object) -> None:
            bench.memory.others = 70
            asyncio.get_running_loop().call_later(1, setattr, bench.memory, "others", 0)

        bench.loader.before_unload = lingers
        await bench.use("B")
        assert bench.states() == {"B": "ready"}


@fake_time
async def test_out_of_memory_at_load_ends_in_a_back_off_and_an_exact_ledger() -> None:
    async with Bench() as bench:
        await bench.use("A")
        bench.loader.failures["B"] = [DeviceOutOfMemory("full")] * 2
        with pytest.raises(OutOfMemory, match=r"^Model loading failed: out of memory \(B\)$") as e:
            await bench.use("B")
        assert e.value.retry_after
        assert bench.loader.loads == ["A", "B", "B"]
        assert bench.memory.taken == 0
        assert bench.cache.memory().reserved == 0
        bench.clock.now -= 1
        with pytest.raises(OutOfMemory):
            await bench.use("B")
        assert bench.loader.loads == ["A", "B", "B"], "not before the back-off ends"
        await asyncio.sleep(2)
        await bench.use("B")
        assert bench.cache.tally.load_failures == 1


@fake_time
async def test_an_attempt_that_failed_is_no_part_of_the_load_that_succeeded() -> None:
    async with Bench() as bench:
        bench.loader.seconds["A"] = 3.0
        bench.loader.failures["A"] = [DeviceOutOfMemory("full")]
        await bench.use("A")
        assert bench.loader.loads == ["A", "A"]
        assert bench.resident("A").load_seconds == pytest.approx(3.0)


@fake_time
async def test_a_model_larger_than_everything_is_refused_for_ever_and_nothing_leaves() -> None:
    async with Bench(pinned="B") as bench:
        for name in "AB":
            await bench.use(name)
        bench.loader.needs["huge"] = Need(95, 6)
        began = bench.clock() + 1
        with pytest.raises(OutOfMemory) as refused:
            await bench.use("huge")
        assert refused.value.retry_after is None
        assert bench.clock() == began
        assert bench.evicted() == []


class Unmeasurable(FakeMemory):
    fails = True

    def measure(self) -> Memory:
        if self.fails:
            raise OSError("no driver at /dev/nvidia0")
        return super().measure()


@fake_time
async def test_memory_that_cannot_be_measured_keeps_its_last_value(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with Bench() as bench:
        memory = Unmeasurable(100)
        bench.cache._books._memory = memory
        with pytest.raises(OutOfMemory, match="cannot be measured") as refused:
            await bench.use("A")
        assert refused.value.retry_after
        assert "/dev" not in refused.value.message
        memory.fails = False
        await bench.use("A")
        memory.fails = True
        await bench.use("B")
        await asyncio.sleep(10)
        assert bench.states() == {"A": "ready", "B": "ready"}


FAILS = "the device's memory cannot be measured, the last value stands: no driver at /dev/nvidia0"
AGAIN = "the device's memory is measured again"


@fake_time
async def test_each_failure_of_the_driver_is_said_and_so_is_its_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with Bench() as bench:
        await bench.use("A")
        memory = bench.cache._books._memory = Unmeasurable(100)
        await asyncio.sleep(QUIET - 10)
        memory.fails = False
        await asyncio.sleep(QUIET)
        memory.fails = True
        await asyncio.sleep(QUIET + 10)
    assert caplog.messages == [FAILS, AGAIN, FAILS, FAILS]


@fake_time
async def test_memory_of_a_model_that_left_is_not_taken_for_that_of_others() -> None:
    async with Bench() as bench:
        bench.loader.needs = {"A": Need(60, 5), "B": Need(60, 5)}
        memory = Unmeasurable(100)
        memory.fails = False
        bench.cache._books._memory = bench.loader.memory = memory
        await bench.use("A")
        await asyncio.sleep(10)
        memory.fails = True
        await bench.use("B")
        assert bench.states() == {"B": "ready"}


@fake_time
async def test_the_books_are_told() -> None:
    async with Bench() as bench:
        bench.loader.needs = {"A": Need(20, 5), "B": Need(10, 3)}
        bench.memory.others = 7
        for name in "AB":
            await bench.use(name)
        assert bench.cache.memory() == MemoryInfo(total=100, used=37, free=63, reserved=35)


def entry(key: str, used: float, *, leases: int = 0, pinned: bool = False) -> Entry:
    return Entry(
        key=key, tag=key, need=Need(30, 10), state="ready", leases=leases, last_used=used,
        loaded_at=0.0, pinned=pinned,
    )  # fmt: skip


def surplus(budget: int, *entries: Entry) -> tuple[str, ...]:
    return ledger.surplus(CacheState(budget, entries, (), 100.0, 0.0))


def test_the_oldest_idle_models_go_until_the_rest_fits() -> None:
    three = (entry("c", 3.0), entry("a", 1.0), entry("b", 2.0))
    assert surplus(100, *three) == ()
    assert surplus(99, *three) == ("a",)
    assert surplus(69, *three) == ("a", "b")
    assert surplus(0, *three) == ("a", "b", "c")


def test_pinned_and_leased_ones_stay() -> None:
    assert surplus(0, entry("a", 1.0, pinned=True), entry("b", 2.0, leases=1)) == ()


def test_a_batch_that_runs_is_no_shortage() -> None:
    two = (entry("a", 1.0), entry("b", 2.0, leases=1))
    assert surplus(60, *two) == ()
    assert surplus(59, *two) == ("a",)
