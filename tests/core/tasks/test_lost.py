"""Calls that take long, or for ever, keep no place from others; how many may is bounded."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from embedwell.tasks.lost import GivenUp, LosingThreads

SOON = 0.05  # seconds of patience
LONG = 60.0  # seconds that no test waits for


@asynccontextmanager
async def hanging(
    threads: LosingThreads, count: int, error: BaseException | None = None
) -> AsyncIterator[list[asyncio.Task[str]]]:
    """So many calls have begun, and go on until the block ends."""
    begun, free = threading.Barrier(count + 1), threading.Event()

    def hang() -> str:
        begun.wait()
        free.wait()
        if error is not None:
            raise error
        return "after all"

    calls = [asyncio.create_task(threads.run(hang)) for _ in range(count)]
    try:
        await asyncio.to_thread(begun.wait, 30)
        yield calls
    finally:
        free.set()
        await asyncio.gather(*calls, return_exceptions=True)


def told(text: str) -> Callable[[], str]:
    return lambda: text


async def test_calls_that_take_long_make_room_and_are_waited_for() -> None:
    threads = LosingThreads(2, LONG, patience=SOON, most=2)
    async with hanging(threads, 2) as calls:
        assert await asyncio.wait_for(threads.run(told("third")), 30) == "third"
        assert not any(call.done() for call in calls)
    assert [call.result() for call in calls] == ["after all"] * 2
    assert threads.lost == 0


async def test_one_that_made_room_fails_as_any_other() -> None:
    threads = LosingThreads(1, LONG, patience=SOON, most=1)
    async with hanging(threads, 1, OSError("gone")) as calls:
        await asyncio.wait_for(threads.run(told("second")), 30)
    assert str(calls[0].exception()) == "gone"


async def test_no_more_make_room_than_may_until_one_has_returned() -> None:
    threads = LosingThreads(1, LONG, patience=SOON, most=1)
    async with hanging(threads, 1):
        async with hanging(threads, 1):
            waits = asyncio.create_task(threads.run(told("third")))
            await asyncio.wait([waits], timeout=4 * SOON)
            assert not waits.done()
        assert await asyncio.wait_for(waits, 30) == "third"
    async with hanging(threads, 1):
        await asyncio.wait_for(threads.run(told("fourth")), 30)


async def test_one_that_is_given_up_makes_room_however_many_hang() -> None:
    threads = LosingThreads(1, 2 * SOON, patience=SOON, most=1)
    async with hanging(threads, 1) as first, hanging(threads, 1) as second:
        await asyncio.wait_for(threads.run(told("third")), 30)
        await asyncio.wait([*first, *second])
        assert threads.lost == 2
        late = [call.exception() for call in (*first, *second)]
    for error in late:
        assert isinstance(error, GivenUp)
        assert await asyncio.wait_for(error.call, 30) == "after all"
    assert threads.lost == 0


async def test_who_leaves_while_waiting_for_a_place_takes_none() -> None:
    threads = LosingThreads(1, LONG, patience=LONG, most=1)
    async with hanging(threads, 1):
        leaves = asyncio.create_task(threads.run(told("never")))
        await asyncio.sleep(0)
        leaves.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaves
    assert await asyncio.wait_for(threads.run(told("next")), 30) == "next"
