"""A load has a hold of its own on the files; one that was dismissed leaves no failure behind."""

import asyncio

import pytest

from embedwell.cache.loading import Overdue
from embedwell.errors import InvalidModel, Loading, ModelNotFound
from embedwell.interfaces.events import LoadFailed
from embedwell.models.holds import Holds
from tests.core.cache.cache_bench import Bench, settled, snapshot
from tests.core.cache.fake_time import fake_time

FILES = snapshot("A").path


@fake_time
async def test_files_are_held_until_the_load_ends_whoever_leaves() -> None:
    holds = Holds()
    async with Bench(hold=holds.hold) as bench:
        bench.loader.gate.clear()
        leaves = asyncio.create_task(bench.use("A"))
        await settled()
        leaves.cancel()
        await settled()
        assert bench.states() == {"A": "loading"}
        assert not holds.doom(FILES)
        bench.loader.gate.set()
        await settled()
        assert bench.states() == {"A": "ready"}
        assert not holds.held(FILES)


@fake_time
async def test_files_of_a_load_that_fails_are_free_again() -> None:
    holds = Holds()
    async with Bench(hold=holds.hold) as bench:
        bench.loader.failures["A"] = [InvalidModel("broken")]
        with pytest.raises(InvalidModel):
            await bench.use("A")
        assert not holds.held(FILES)


@fake_time
async def test_what_has_gone_before_is_not_found_and_not_remembered() -> None:
    holds = Holds()
    holds.doom(FILES)
    async with Bench(hold=holds.hold) as bench:
        with pytest.raises(ModelNotFound, match=r"^Model not found: test:A@1$"):
            await bench.use("A")
        assert bench.states() == {}
        assert bench.loader.loads == []
        holds.revive(FILES)
        await bench.use("A")


@fake_time
async def test_a_dismissed_load_that_fails_is_forgotten() -> None:
    async with Bench() as bench:
        bench.loader.failures["A"] = [InvalidModel("broken")]
        bench.loader.gate.clear()
        waits = asyncio.create_task(bench.use("A"))
        await settled()
        await bench.cache.clear()
        bench.loader.gate.set()
        with pytest.raises(InvalidModel):
            await waits
        assert bench.states() == {}
        assert [event.code for event in bench.events if isinstance(event, LoadFailed)] == [
            "INVALID_MODEL"
        ]
        await bench.use("A")  # without a back-off


@fake_time
async def test_but_not_one_that_is_overdue() -> None:
    async with Bench() as bench:
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        bench.loader.failures["A"] = [Overdue(600, ended)]
        bench.loader.gate.clear()
        waits = asyncio.create_task(bench.use("A"))
        await settled()
        await bench.cache.clear()
        bench.loader.gate.set()
        for late in (waits, bench.use("A")):
            with pytest.raises(Loading):
                await late
        assert bench.loader.loads == ["A"], "no second load beside it"
        ended.set_result(None)
        await settled()
        await bench.use("A")
