"""Several threads of one device: batches at the same time, each with its share of what waits."""

import asyncio
import threading
from collections.abc import AsyncIterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from embedwell.batching.jobs import Submitted
from embedwell.errors import DeadlineExceeded, ModelError
from embedwell.testing.devices import FakeEncoder
from tests.core.batching.test_batcher import (
    Bench,
    Blocker,
    Handle,
    check_served,
    expected,
    rows,
    tokens,
    void,
)

BAD = 901
LONG = [5] * 100  # enough tokens for a batch of its own


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench(threads=2)
    yield made
    await made.batcher.aclose()


@pytest.fixture
async def hasty() -> AsyncIterator[Bench]:
    """It gives up soon what hangs."""
    made = Bench(threads=2, batch_timeout=0.2)
    yield made
    await made.batcher.aclose()


def begun(handle: Handle) -> list[int]:
    """First tokens of what the device was given."""
    return [int(np.frombuffer(batch.ids, "<i4")[0]) for batch in handle.encoder.batches]


async def begun_together(
    bench: Bench, handle: Handle, *blockers: Blocker
) -> "list[asyncio.Task[Submitted]]":
    """A batch for each blocker, by its number from 1; all of them run now."""
    tasks = [
        asyncio.create_task(bench.batcher.submit(handle, tokens([token, *LONG])))
        for token, _ in enumerate(blockers, 1)
    ]
    for blocker in blockers:
        assert await asyncio.to_thread(blocker.began.wait, 60)
    return tasks


async def test_two_batches_run_at_the_same_time(bench: Bench) -> None:
    first, second = Blocker(), Blocker()
    handle = Handle(FakeEncoder(faults={1: first, 2: second}))
    both = await begun_together(bench, handle, first, second)
    assert [len(batch.lengths) for batch in handle.encoder.batches] == [1, 1]
    first.go.set()
    second.go.set()
    await asyncio.gather(*both)


async def test_what_comes_one_by_one_stays_in_one_thread(bench: Bench) -> None:
    threads = []
    handle = Handle(FakeEncoder(faults={7: lambda: threads.append(threading.get_ident())}))
    for _ in range(20):
        await bench.batcher.submit(handle, tokens([7]))
    assert len(set(threads)) == 1


async def test_what_waits_is_shared_by_threads_that_are_free(bench: Bench) -> None:
    slow = Blocker()
    handle = Handle(FakeEncoder(batch_tokens=4096, faults={5: slow}))
    many = asyncio.create_task(bench.batcher.submit(handle, tokens(*[LONG] * 12)))
    while len(handle.encoder.batches) < 2:
        await asyncio.sleep(0)
    slow.go.set()
    await many
    assert [run.items for run in bench.runs] == [6, 6]


async def test_a_few_short_texts_are_one_batch(bench: Bench) -> None:
    handle = Handle(FakeEncoder())
    await bench.batcher.submit(handle, tokens(*[[5]] * 12))
    assert [run.items for run in bench.runs] == [12]


async def test_of_texts_that_take_more_than_a_batch_one_runs_at_a_time(bench: Bench) -> None:
    """And nobody else waits for the second."""
    first = Blocker()
    handle = Handle(FakeEncoder(batch_tokens=64, faults={1: first}))
    other = Handle(FakeEncoder(), "other")
    long = [
        asyncio.create_task(bench.batcher.submit(handle, tokens([token, *LONG])))
        for token in (1, 2)
    ]
    assert await asyncio.to_thread(first.began.wait, 60)
    await bench.batcher.submit(handle, tokens([3]))
    await bench.batcher.submit(other, tokens([4]))
    assert begun(handle) == [1, 3]
    first.go.set()
    await asyncio.gather(*long)
    assert begun(handle) == [1, 3, 2]


async def test_a_model_that_takes_one_text_at_a_time_has_one_thread(bench: Bench) -> None:
    """And leaves the other to others."""
    first = Blocker()
    alone = FakeEncoder(faults={1: first})
    alone.facts = replace(alone.facts, verdict=replace(alone.facts.verdict, single=True))
    handle, other = Handle(alone), Handle(FakeEncoder(), "other")
    both = [
        asyncio.create_task(bench.batcher.submit(handle, tokens([token, *LONG])))
        for token in (1, 2)
    ]
    assert await asyncio.to_thread(first.began.wait, 60)
    await bench.batcher.submit(other, tokens([4]))
    assert begun(handle) == [1]
    first.go.set()
    await asyncio.gather(*both)
    assert begun(handle) == [1, 2]


@pytest.mark.parametrize("single", [False, True])
async def test_one_that_hangs_bars_nobody(hasty: Bench, single: bool) -> None:
    stuck = Blocker()
    encoder = FakeEncoder(batch_tokens=64, faults={BAD: stuck})
    encoder.facts = replace(encoder.facts, verdict=replace(encoder.facts.verdict, single=single))
    handle = Handle(encoder)
    hangs = asyncio.create_task(hasty.batcher.submit(handle, tokens([BAD, *LONG])))
    assert await asyncio.to_thread(stuck.began.wait, 60)
    rest = [hasty.batcher.submit(handle, tokens([i, *LONG])) for i in range(1, 9)]
    await asyncio.gather(*rest)
    with pytest.raises(DeadlineExceeded):
        await hangs
    assert handle.held == 1
    stuck.go.set()
    while handle.held:
        await asyncio.sleep(0)


@pytest.mark.parametrize(("threads", "single"), [(1, False), (2, True)])
async def test_a_rate_is_that_of_the_threads_that_ran(threads: int, single: bool) -> None:
    """One batch after the other here: the next one may have begun when the last is looked at."""
    bench = Bench(threads)
    handle = Handle(FakeEncoder(batch_tokens=64))
    verdict = replace(handle.encoder.facts.verdict, single=single)
    handle.encoder.facts = replace(handle.encoder.facts, verdict=verdict)
    await bench.batcher.submit(handle, tokens(*[LONG] * 20))
    rates = [run.tokens / run.seconds for run in bench.runs]
    assert bench.batcher._rate <= max(rates)
    await bench.batcher.aclose()


async def test_what_ran_beside_a_batch_counts_in_the_rate(bench: Bench) -> None:
    first, second = Blocker(), Blocker()
    handle = Handle(FakeEncoder(faults={1: first, 2: second}))
    both = await begun_together(bench, handle, first, second)
    first.go.set()
    await both[0]
    (run,) = bench.runs
    assert bench.batcher._rate == pytest.approx(2 * run.tokens / run.seconds)
    second.go.set()
    await both[1]


async def test_one_that_is_busy_does_not_keep_the_other(bench: Bench) -> None:
    slow = Blocker()
    handle = Handle(FakeEncoder(faults={BAD: slow}))
    first = asyncio.create_task(bench.batcher.submit(handle, tokens([BAD])))
    assert await asyncio.to_thread(slow.began.wait, 60)
    await check_served(bench, handle)
    assert not first.done()
    slow.go.set()
    await first


async def test_what_one_thread_hangs_in_costs_the_other_nothing(hasty: Bench) -> None:
    stuck = Blocker()
    handle = Handle(FakeEncoder(faults={BAD: stuck}))
    hangs = asyncio.create_task(hasty.batcher.submit(handle, tokens([BAD])))
    assert await asyncio.to_thread(stuck.began.wait, 60)
    while not hangs.done():
        await check_served(hasty, handle, 8)
    with pytest.raises(DeadlineExceeded):
        await hangs
    await check_served(hasty, handle)
    assert handle.held == 1
    stuck.go.set()
    while handle.held:
        await asyncio.sleep(0)


async def test_both_hang_and_both_are_replaced(hasty: Bench) -> None:
    stuck = threading.Event()
    handle = Handle(FakeEncoder(faults={BAD: lambda: void(stuck.wait())}))
    both = [hasty.batcher.submit(handle, tokens([BAD, *LONG])) for _ in range(2)]
    waits = asyncio.create_task(hasty.batcher.submit(handle, tokens([8])))
    answers = await asyncio.gather(*both, return_exceptions=True)
    assert all(isinstance(answer, DeadlineExceeded) for answer in answers)
    await waits
    await check_served(hasty, handle)
    stuck.set()


async def test_one_stall_of_all_threads_is_no_dead_device() -> None:
    bench = Bench(threads=4, batch_timeout=0.2)
    stuck = threading.Event()
    handle = Handle(FakeEncoder(faults={BAD: lambda: void(stuck.wait())}))
    many = [bench.batcher.submit(handle, tokens([BAD, *LONG])) for _ in range(4)]
    answers = await asyncio.gather(*many, return_exceptions=True)
    assert all(isinstance(answer, DeadlineExceeded) for answer in answers)
    assert not bench.batcher.fatal.done()
    stuck.set()
    while handle.held:
        await asyncio.sleep(0)
    await bench.batcher.aclose()


async def test_the_device_is_proven_beside_a_batch(bench: Bench) -> None:
    slow = Blocker()
    handle = Handle(FakeEncoder(faults={BAD: slow}))
    first = asyncio.create_task(bench.batcher.submit(handle, tokens([BAD])))
    assert await asyncio.to_thread(slow.began.wait, 60)
    await bench.batcher.prove()
    slow.go.set()
    await first


@given(st.lists(st.lists(st.lists(st.integers(1, 900), min_size=1, max_size=60), min_size=1, max_size=6), min_size=1, max_size=12), st.integers(1, 200), st.integers(1, 4))  # fmt: skip
@settings(max_examples=60)
def test_any_mix_of_requests_gets_its_own_rows_in_order(
    asked: list[list[list[int]]], budget: int, threads: int
) -> None:
    def fail() -> None:
        raise ValueError("poison")

    async def scenario() -> None:
        bench = Bench(threads=threads)
        handle = Handle(FakeEncoder(batch_tokens=budget, faults={13: fail}, capacity=90))
        answers = await asyncio.gather(
            *(bench.batcher.submit(handle, tokens(*lists)) for lists in asked),
            return_exceptions=True,
        )
        for lists, answer in zip(asked, answers, strict=True):
            if any(13 in ids for ids in lists):
                assert isinstance(answer, ModelError)
            else:
                assert not isinstance(answer, BaseException)
                np.testing.assert_array_equal(rows(answer, len(lists)), expected(tuple(lists)))
        while handle.held:
            await asyncio.sleep(0)
        await bench.batcher.aclose()

    asyncio.run(scenario())
