"""Who asks just when a preload is refused is asked for by itself; nothing is asked after the end."""

import asyncio

import pytest

from embedwell.errors import Draining, OutOfMemory
from embedwell.interfaces.caches import CacheState, Decision, Need, Wait
from embedwell.interfaces.events import LoadFailed
from tests.core.cache.cache_bench import Bench, settled
from tests.core.cache.fake_time import fake_time
from tests.core.cache.test_wishes import Says, everything


@fake_time
async def test_a_request_that_comes_just_when_a_preload_is_refused_is_served() -> None:
    requests: list[asyncio.Task[None]] = []

    def answer(state: CacheState) -> Decision:
        if not requests:
            requests.append(asyncio.create_task(bench.use("B")))
        return everything(state)

    bench = Bench(strategy=Says(answer))
    bench.loader.needs = dict.fromkeys("AB", Need(60, 5))
    bench.loader.seconds = {"A": 3.0}
    async with bench:
        await bench.use("A")
        with pytest.raises(OutOfMemory, match="only models in recent use could make room"):
            await bench.preload("B")
        await requests[0]
        assert bench.states() == {"B": "ready"}
        assert not any(isinstance(event, LoadFailed) for event in bench.events)


@fake_time
async def test_a_refused_request_is_told_as_a_failure_once() -> None:
    async with Bench(total=10) as bench:
        with pytest.raises(OutOfMemory):
            await bench.use("A")
        assert [event.code for event in bench.events if isinstance(event, LoadFailed)] == [
            "MEMORY_ERROR"
        ]
        assert bench.states() == {}


@fake_time
async def test_what_was_about_to_be_asked_when_the_cache_stops_is_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with Bench(strategy=Says(lambda state: Wait("no room"))) as bench:
        bench.loader.needs = dict.fromkeys("AB", Need(60, 5))
        await bench.hold("A")
        waits = asyncio.create_task(bench.use("B"))
        await settled()
        bench.memory.total = 1000
        bench.clock.now += 1
        bench.cache.poke()
        await bench.cache.aclose()
        with pytest.raises(Draining):
            await waits
    assert not caplog.records
