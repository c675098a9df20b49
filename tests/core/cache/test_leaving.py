"""Models leave on an operator's word, with their files, after a while; nobody's request fails."""

import asyncio
import logging

import pytest

from embedwell.cache.closing import UNLOAD_SECONDS
from embedwell.cache.leaving import MAX_RETIRED, RETIRED_SECONDS
from embedwell.cache.naming import named
from embedwell.errors import InvalidModel, OutOfMemory
from embedwell.interfaces.caches import Need
from embedwell.interfaces.models import ModelRef
from embedwell.interfaces.status import Cleared
from embedwell.testing import FakeEncoder
from tests.core.cache.cache_bench import DTYPE, Bench, model_key, settled, snapshot
from tests.core.cache.fake_time import fake_time


@fake_time
async def test_a_clear_unloads_the_idle_and_says_so() -> None:
    async with Bench(max_models=3) as bench:
        for name in "AB":
            await bench.use(name)
        assert await bench.cache.clear() == Cleared(cleared=("A", "B"), draining=())
        assert bench.loader.unloads == 2, "they are gone before the answer"
        assert bench.memory.taken == 0
        assert bench.states() == {}


@fake_time
async def test_a_leased_one_is_drained_and_who_asks_meanwhile_gets_it_afresh() -> None:
    async with Bench() as bench:
        lease = await bench.hold("A")
        assert await bench.cache.clear() == Cleared(cleared=(), draining=("A",))
        late = asyncio.create_task(bench.use("A"))
        bench.cache.poke()
        await settled()
        assert bench.states() == {"A": "draining"}, "no strategy undoes it"
        assert isinstance(lease.encoder, FakeEncoder)
        assert not lease.encoder.closed
        await bench.held.aclose()
        await late
        assert bench.loader.loads == ["A", "A"]
        assert bench.states() == {"A": "ready"}


@fake_time
async def test_a_drained_one_that_nobody_waits_for_just_leaves() -> None:
    async with Bench() as bench:
        await bench.hold("A")
        await bench.cache.clear()
        await bench.held.aclose()
        await settled()
        assert bench.states() == {}


@fake_time
async def test_a_clear_takes_names_with_or_without_source_and_revision() -> None:
    async with Bench(max_models=3) as bench:
        for name in "AB":
            await bench.use(name)
        for other in (ModelRef("A", "2"), ModelRef("A", source="hub"), ModelRef("C")):
            assert await bench.cache.clear([other]) == Cleared((), ())
        assert await bench.cache.clear([]) == Cleared((), ())
        assert await bench.cache.clear([ModelRef("A", "1", "test")]) == Cleared(("A",), ())
        assert bench.states() == {"B": "ready"}
        assert await bench.cache.clear([ModelRef("B")]) == Cleared(("B",), ())


def test_a_name_without_source_and_revision_means_any() -> None:
    assert named(model_key("A"), [ModelRef("B"), ModelRef("A")])
    assert not named(model_key("A"), [])
    assert not named(model_key("A"), [ModelRef("a")])


@fake_time
async def test_a_clear_while_it_loads_serves_who_waits() -> None:
    async with Bench() as bench:
        bench.loader.gate.clear()
        waits = asyncio.create_task(bench.use("A", seconds=1))
        await settled()
        assert await bench.cache.clear() == Cleared((), ("A",))
        bench.loader.gate.set()
        await waits
        await settled()
        assert bench.states() == {}
        assert bench.loader.loads == ["A"]


@fake_time
async def test_a_clear_forgets_a_failure() -> None:
    async with Bench() as bench:
        bench.loader.failures["A"] = [InvalidModel("broken")]
        with pytest.raises(InvalidModel):
            await bench.use("A")
        assert await bench.cache.clear() == Cleared((), ())
        await bench.use("A")


@fake_time
async def test_pinned_models_leave_by_a_clear_only() -> None:
    async with Bench(max_models=1, pinned="A", keep_alive=10) as bench:
        await bench.use("A")
        await bench.cache.reclaim()
        bench.memory.others = 95
        await asyncio.sleep(100)
        assert bench.states() == {"A": "ready"}
        assert bench.resident("A").pinned
        assert await bench.cache.clear() == Cleared(("A",), ())


@fake_time
async def test_what_nobody_used_for_a_while_leaves() -> None:
    async with Bench(keep_alive=10) as bench:
        await bench.use("A")
        await asyncio.sleep(9)
        await bench.use("A")
        await asyncio.sleep(9.5)
        assert bench.states() == {"A": "ready"}
        await asyncio.sleep(0.6)
        assert bench.states() == {}
        lease_ends = asyncio.create_task(bench.use("A", seconds=50))
        await asyncio.sleep(49)
        assert bench.states() == {"A": "ready"}, "a leased one is in use"
        await lease_ends
        await asyncio.sleep(11)
        assert bench.states() == {}


@fake_time
async def test_it_leaves_on_time_after_its_last_lease() -> None:
    async with Bench(keep_alive=1) as bench:
        for seconds in (3.3, 4.7):
            await bench.use("A", seconds=seconds)
            await asyncio.sleep(0.9)
            assert bench.states() == {"A": "ready"}
            await asyncio.sleep(0.2)
            assert bench.states() == {}


@fake_time
async def test_a_deleted_model_is_drained_then_frees() -> None:
    async with Bench() as bench:
        await bench.use("B")
        await bench.hold("A")
        bench.cache.retire([model_key("A"), model_key("B"), model_key("unknown")])
        await settled()
        assert bench.states() == {"A": "draining"}
        await bench.held.aclose()
        await settled()
        assert bench.states() == {}
        assert bench.memory.taken == 0


@fake_time
async def test_who_knew_it_from_before_still_gets_it_once() -> None:
    async with Bench() as bench:
        bench.cache.retire([model_key("A")])
        first = asyncio.create_task(bench.use("A", seconds=5))
        await asyncio.sleep(1)
        await bench.use("A")  # shares it, so long as it is there
        assert bench.loader.loads == ["A"]
        await first
        await settled()
        assert bench.states() == {}
        await asyncio.sleep(RETIRED_SECONDS)
        await bench.use("A")
        await settled()
        assert bench.states() == {"A": "ready"}, "it is an ordinary model by then"


@fake_time
async def test_a_revision_that_replaces_it_stays() -> None:
    async with Bench() as bench:
        bench.cache.retire([model_key("A", "1")])
        async with bench.cache.lease(snapshot("A", "2"), DTYPE):
            pass
        await settled()
        assert bench.states() == {"A": "ready"}


@pytest.mark.parametrize("waits", [True, False])
@fake_time
async def test_one_that_loads_when_it_is_deleted_leaves_afterwards(waits: bool) -> None:
    async with Bench() as bench:
        bench.loader.gate.clear()
        request = asyncio.create_task(bench.use("A"))
        await settled()
        bench.cache.retire([model_key("A")])
        if not waits:
            request.cancel()
        await settled()
        bench.loader.gate.set()
        await asyncio.wait([request])
        await settled()
        assert request.cancelled() is not waits
        assert bench.states() == {}
        assert bench.memory.taken == 0


@fake_time
async def test_published_again_it_stays() -> None:
    async with Bench() as bench:
        await bench.hold("A")
        bench.cache.retire([model_key("A")])
        late = asyncio.create_task(bench.use("A"))
        await settled()
        bench.cache.revive([model_key("A")])
        await late
        await bench.held.aclose()
        await settled()
        assert bench.states() == {"A": "ready"}
        assert bench.loader.loads == ["A"]


@fake_time
async def test_a_retirement_of_many_remembers_a_bounded_number() -> None:
    async with Bench() as bench:
        bench.cache.retire([model_key("A")])
        bench.cache.retire([model_key("M", str(i)) for i in range(2000)])
        await bench.use("A")
        await settled()
        assert bench.states() == {"A": "ready"}


@fake_time
async def test_of_many_the_one_retired_last_is_remembered() -> None:
    async with Bench() as bench:
        bench.cache.retire([model_key("A")])
        bench.cache.retire([model_key("M", str(i)) for i in range(MAX_RETIRED - 1)])
        bench.cache.retire([model_key("A")])
        bench.cache.retire([model_key("N")])
        await bench.use("A")
        await settled()
        assert bench.states() == {}


@fake_time
async def test_an_unload_that_hangs_keeps_its_memory_and_nobody_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with Bench(max_models=1) as bench:
        await bench.use("A")
        bench.loader.unload_gate.clear()
        began = bench.clock()
        with caplog.at_level(logging.ERROR, "embedwell.cache"):
            await bench.use("B")
        assert UNLOAD_SECONDS <= bench.clock() - began < UNLOAD_SECONDS + 5
        assert "unloading A does not end" in caplog.text
        assert bench.states() == {"B": "ready"}
        assert bench.cache.memory().reserved == 10 + 10 + 2
        bench.loader.needs["C"] = Need(95, 1)
        with pytest.raises(OutOfMemory, match="models may use"):
            await bench.use("C")
        assert bench.cache._books.budget() == 90, "the leak counts, and counts once"
        bench.loader.unload_gate.set()
        await settled()
        assert bench.cache.memory().reserved == 10 + 2, "it ended after all"
        await bench.use("C")
        assert bench.memory.taken == 95


@fake_time
async def test_an_unload_that_raises_leaves_nothing_behind() -> None:
    async with Bench() as bench:
        await bench.use("A")

        def broken(encoder: object) -> None:
            raise RuntimeError("driver")

        bench.loader.before_unload = broken
        assert await bench.cache.clear() == Cleared(("A",), ())
        assert bench.states() == {}


@fake_time
async def test_a_hundred_cycles_leave_memory_where_it_was() -> None:
    async with Bench(max_models=1) as bench:
        for _ in range(50):
            await bench.use("A")
            await bench.use("B")
        assert len(bench.loader.loads) == 100
        assert bench.cache.tally.loads == 100
        assert bench.cache.tally.evictions == 99
        await bench.cache.clear()
        assert bench.memory.taken == 0
        assert bench.cache.memory().reserved == 0
        assert bench.cache.memory().free == bench.memory.total
