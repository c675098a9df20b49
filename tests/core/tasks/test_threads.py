"""Bounded threads stay bounded, whoever gives up."""

import asyncio
import threading

import pytest

from embedwell.tasks.threads import BoundedThreads


async def test_a_call_that_was_given_up_keeps_its_place() -> None:
    threads, go = BoundedThreads(1), threading.Event()
    running, began = 0, threading.Event()

    def work() -> int:
        nonlocal running
        running += 1
        most = running
        began.set()
        go.wait()
        running -= 1
        return most

    first = asyncio.create_task(threads.run(work))
    await asyncio.to_thread(began.wait)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    second = asyncio.create_task(threads.run(work))
    await asyncio.sleep(0)
    go.set()
    assert await second == 1


async def test_errors_arrive() -> None:
    def fail() -> None:
        raise ValueError("told")

    (result,) = await asyncio.gather(BoundedThreads(1).run(fail), return_exceptions=True)
    assert str(result) == "told"


async def test_a_call_that_stops_an_iteration_is_a_failure_like_any_other() -> None:
    def stop() -> None:
        raise StopIteration

    with pytest.raises(RuntimeError, match="StopIteration"):
        await BoundedThreads(1).run(stop)
