"""Room for one model and traffic for two, over both strategies."""

import asyncio
from collections.abc import Callable

import pytest

from embedwell.interfaces.caches import CacheStrategy, Need
from embedwell_cache_fixed import strategy as fixed
from embedwell_cache_vram import strategy as vram
from tests.core.cache.cache_bench import Bench, snapshot
from tests.core.cache.fake_time import fake_time

CLIENTS, REQUESTS = 50, 10
STRATEGIES: dict[str, Callable[[], CacheStrategy]] = {
    "fixed_size": lambda: fixed.FixedSize(fixed.Config(max_models=1)),
    "vram_aware": lambda: vram.VramAware(vram.Config()),
}


def bench_for_one(strategy: str) -> Bench:
    bench = Bench(strategy=STRATEGIES[strategy]())
    bench.loader.needs = dict.fromkeys("AB", Need(60, 5))
    bench.loader.seconds = dict.fromkeys("AB", 2.0)
    return bench


async def client(bench: Bench, number: int) -> None:
    for _ in range(REQUESTS):
        async with bench.cache.lease(snapshot("AB"[number % 2]), "float32"):
            await asyncio.sleep(0.1 + number / 500)


@pytest.mark.parametrize("strategy", STRATEGIES)
@fake_time
async def test_all_finish_and_models_are_swapped_for_batches(strategy: str) -> None:
    async with bench_for_one(strategy) as bench:
        began = bench.clock()
        await asyncio.gather(*(client(bench, number) for number in range(CLIENTS)))
        swaps = len(bench.loader.loads)
        assert swaps <= 2 * REQUESTS, "each load serves all who wait for it at least once"
        assert bench.cache.tally.load_failures == 0
        assert bench.clock() - began < 120, "within the deadline of a request"


@pytest.mark.parametrize("strategy", STRATEGIES)
@fake_time
async def test_a_busy_model_has_its_time_before_it_is_drained(strategy: str) -> None:
    async with bench_for_one(strategy) as bench:
        await bench.hold("A")
        loaded = bench.clock()
        waits = asyncio.create_task(bench.use("B"))
        await asyncio.sleep(1.5)
        await bench.use("A")
        assert bench.states()["A"] == "ready"
        while bench.states()["A"] != "draining":
            await asyncio.sleep(0.25)
        assert 4.0 <= bench.clock() - loaded <= 5.5
        await bench.held.aclose()
        await waits
