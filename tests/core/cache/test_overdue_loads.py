"""A load that takes too long: who waits is told, it is charged for, and it is not tried beside itself."""

import asyncio

import pytest

from embedwell.cache.loading import Overdue
from embedwell.errors import Loading, OutOfMemory
from embedwell.interfaces.caches import Need
from embedwell.interfaces.events import LoadFailed
from tests.core.cache.cache_bench import Bench, settled
from tests.core.cache.fake_time import fake_time


def overdue(bench: Bench, name: str = "A") -> "asyncio.Future[None]":
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    bench.loader.failures[name] = [Overdue(600, ended)]
    return ended


@fake_time
async def test_all_who_wait_are_told_and_who_comes_later_is_at_once() -> None:
    async with Bench() as bench:
        overdue(bench)
        waits = [asyncio.create_task(bench.use("A")) for _ in range(5)]
        await settled()
        with pytest.raises(Loading, match=r"^Model loading failed: A was not there within 600 s$"):
            await waits[0]
        assert all(isinstance(task.exception(), Loading) for task in waits[1:])
        await asyncio.sleep(3000)
        with pytest.raises(Loading) as told:
            await bench.use("A")
        assert told.value.retry_after == 60
        assert bench.loader.loads == ["A"]
        assert [e.code for e in bench.events if isinstance(e, LoadFailed)] == ["LOADING"]


@fake_time
async def test_it_is_charged_for_until_its_thread_returns() -> None:
    async with Bench(total=100, max_models=9) as bench:
        bench.loader.needs = {"A": Need(60, 5), "B": Need(40, 5)}
        ended = overdue(bench)
        with pytest.raises(Loading):
            await bench.use("A")
        assert bench.cache.memory().reserved == 65
        with pytest.raises(OutOfMemory):
            await bench.use("B")
        await bench.use("C")
        ended.set_result(None)
        await settled()
        assert bench.cache.memory().reserved == 12
        await bench.use("B")


@fake_time
async def test_once_it_has_returned_the_next_request_loads_anew() -> None:
    async with Bench() as bench:
        ended = overdue(bench)
        with pytest.raises(Loading):
            await bench.use("A")
        ended.set_result(None)
        await settled()
        await bench.use("A")
        assert bench.loader.loads == ["A", "A"]
        assert bench.states() == {"A": "ready"}


@fake_time
async def test_clearing_the_cache_begins_no_second_load_beside_it() -> None:
    async with Bench() as bench:
        ended = overdue(bench)
        with pytest.raises(Loading):
            await bench.use("A")
        await bench.cache.clear()
        with pytest.raises(Loading):
            await bench.use("A")
        assert bench.loader.loads == ["A"]
        ended.set_result(None)
        await settled()
        await bench.use("A")
        assert bench.cache.memory().reserved == 12
        assert bench.states() == {"A": "ready"}
