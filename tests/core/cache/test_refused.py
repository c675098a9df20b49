"""Who asks just when a preload is refused is asked for by itself."""

import asyncio

import pytest

from embedwell.errors import OutOfMemory
from embedwell.interfaces.caches import CacheState, Decision, Need
from embedwell.interfaces.events import LoadFailed
from tests.core.cache.cache_bench import Bench
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
