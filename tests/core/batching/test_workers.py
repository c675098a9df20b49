"""The device's threads, without a batcher."""

import asyncio
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from embedwell.batching.workers import Workers


class Noted:
    """Says which thread ran it."""

    def perform(self) -> int:
        return threading.get_ident()


@pytest.fixture
def undisturbed() -> Iterator[None]:
    """A thread that has Python's lock keeps it until it waits for something."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(5)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("undisturbed")
async def test_work_that_takes_the_place_of_other_calls_no_second_thread() -> None:
    ran: asyncio.Queue[int] = asyncio.Queue()
    workers = Workers(
        2,
        timeout=60,
        clock=time.monotonic,
        done=lambda work, outcome: ran.put_nowait(outcome.result),
        returned=lambda work: None,
    )
    threads = set()
    for _ in range(50):
        workers.offer(Noted())
        workers.retract()
        workers.offer(Noted())
        threads.add(await ran.get())
    workers.close()
    assert len(threads) == 1
