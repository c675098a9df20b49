"""Memory that batches leave behind is handed back now and then, and never by two at a time."""

import asyncio
import threading

import pytest

from embedwell.interfaces.events import BatchRun, WorkerReplaced
from embedwell.tidying import Tidying

BATCH = BatchRun(
    at=0, model="m", items=1, requests=1, tokens=3, cost=3, seconds=0.1, outcome="ok"
)  # fmt: skip


class Backend:
    """Counts what it is asked to forget."""

    def __init__(self, error: Exception | None = None) -> None:
        self.calls: list[str] = []
        self.asked = asyncio.Event()
        self._error = error
        self._loop = asyncio.get_running_loop()

    def forget(self) -> None:
        self.calls.append(threading.current_thread().name)
        self._loop.call_soon_threadsafe(self.asked.set)
        if self._error is not None:
            raise self._error

    async def again(self) -> None:
        """Until it was asked once more."""
        await asyncio.wait_for(self.asked.wait(), 30)
        self.asked.clear()


async def test_several_batches_are_tidied_up_after_once_and_in_a_thread() -> None:
    backend = Backend()
    tidying = Tidying(backend.forget, pause=0.01)
    for _ in range(5):
        tidying.observe(BATCH)
    await backend.again()
    await asyncio.sleep(0.1)
    assert len(backend.calls) == 1
    assert backend.calls[0] != threading.current_thread().name
    await tidying.aclose()


async def test_the_next_batch_is_tidied_up_after_too_whatever_went_wrong(
    caplog: pytest.LogCaptureFixture,
) -> None:
    backend = Backend(OSError("gone"))
    tidying = Tidying(backend.forget, pause=0)
    async with asyncio.timeout(30):
        while len(caplog.records) < 2:
            tidying.observe(BATCH)
            await asyncio.sleep(0.01)
    assert {r.getMessage() for r in caplog.records} == {"memory could not be handed back"}
    await tidying.aclose()


async def test_nothing_is_handed_back_without_a_batch_nor_after_the_end() -> None:
    backend = Backend()
    tidying = Tidying(backend.forget, pause=0)
    tidying.observe(WorkerReplaced(at=0, device="cpu", lost=1))
    await asyncio.sleep(0.05)
    await tidying.aclose()
    tidying.observe(BATCH)
    await asyncio.sleep(0.05)
    assert backend.calls == []


async def test_closing_does_not_wait_for_the_pause() -> None:
    backend = Backend()
    tidying = Tidying(backend.forget, pause=600)
    tidying.observe(BATCH)
    await asyncio.wait_for(tidying.aclose(), 30)
    assert backend.calls == []
