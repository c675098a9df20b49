"""A model that is dismissed while it loads serves who waits, and nobody after them."""

import asyncio
from collections.abc import Callable

import pytest

from embedwell.errors import InvalidModel
from embedwell.interfaces.status import Cleared
from tests.core.cache.cache_bench import Bench, model_key, settled
from tests.core.cache.fake_time import fake_time


def clear(bench: Bench) -> None:
    bench.clears.append(asyncio.create_task(bench.cache.clear()))


def retire(bench: Bench) -> None:
    bench.cache.retire([model_key("A")])


async def dismissed_while_loading(bench: Bench, dismiss: Callable[[Bench], None]) -> None:
    """One request holds it when this returns."""
    bench.loader.gate.clear()
    first = asyncio.create_task(bench.hold("A"))
    await settled()
    dismiss(bench)
    await settled()
    bench.loader.gate.set()
    await first
    await settled()


@pytest.mark.parametrize("dismiss", [clear, retire])
@fake_time
async def test_it_takes_no_new_leases(dismiss: Callable[[Bench], None]) -> None:
    async with Bench() as bench:
        await dismissed_while_loading(bench, dismiss)
        assert bench.states() == {"A": "draining"}
        late = asyncio.create_task(bench.use("A"))
        bench.cache.poke()
        await asyncio.sleep(10)
        assert not late.done()
        assert bench.loader.loads == ["A"]
        await bench.held.aclose()
        await late
        assert bench.loader.loads == ["A", "A"]


@fake_time
async def test_overlapping_requests_do_not_keep_it() -> None:
    async with Bench() as bench:
        await dismissed_while_loading(bench, clear)
        requests = []
        for _ in range(20):
            requests.append(asyncio.create_task(bench.use("A", seconds=5)))
            await asyncio.sleep(1)
        await bench.held.aclose()
        await asyncio.gather(*requests)
        await settled()
        assert bench.loader.loads == ["A", "A"]
        assert bench.states() == {"A": "ready"}, "its next life was not dismissed"
        assert bench.clears[0].result() == Cleared((), ("A",))


@fake_time
async def test_published_again_while_it_loads_it_stays() -> None:
    async with Bench() as bench:

        def both(bench: Bench) -> None:
            retire(bench)
            bench.cache.revive([model_key("A")])

        await dismissed_while_loading(bench, both)
        assert bench.states() == {"A": "ready"}
        assert not bench.resident("A").dismissed


@fake_time
async def test_published_again_while_it_drains_it_stays() -> None:
    async with Bench() as bench:
        await dismissed_while_loading(bench, retire)
        late = asyncio.create_task(bench.use("A"))
        await settled()
        bench.cache.revive([model_key("A")])
        await late
        assert bench.states() == {"A": "ready"}
        assert bench.loader.loads == ["A"]


@fake_time
async def test_a_later_life_of_a_retired_model_is_shared_unless_it_is_cleared() -> None:
    async with Bench() as bench:
        bench.cache.retire([model_key("A")])
        await bench.hold("A")
        await bench.use("A")
        assert bench.loader.loads == ["A"]
        await bench.held.aclose()
        await settled()
        assert bench.states() == {}
        await dismissed_while_loading(bench, clear)
        assert bench.states() == {"A": "draining"}


@fake_time
async def test_a_load_that_fails_takes_its_dismissal_along() -> None:
    async with Bench() as bench:
        bench.loader.failures["A"] = [InvalidModel("broken")]
        with pytest.raises(InvalidModel):
            await dismissed_while_loading(bench, clear)
        await asyncio.sleep(10)
        await bench.hold("A")
        assert bench.states() == {"A": "ready"}
        assert not bench.resident("A").dismissed
