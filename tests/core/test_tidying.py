"""Memory that batches leave behind is handed back, in a thread and now and then."""

import asyncio
import threading

import pytest

from embedwell.interfaces.events import BatchRun, WorkerReplaced
from embedwell.tidying import Tidying

BATCH = BatchRun(
    at=0, model="m", items=1, requests=1, tokens=3, cost=3, seconds=0.1, outcome="ok"
)  # fmt: skip


class Backend:
    """Notes the thread of each call, which goes on once the gate is open."""

    def __init__(self, error: Exception | None = None) -> None:
        self.threads: list[threading.Thread] = []
        self.called = asyncio.Event()
        self.gate = threading.Event()
        self._error = error
        self._loop = asyncio.get_running_loop()

    def forget(self) -> None:
        self.threads.append(threading.current_thread())
        self._loop.call_soon_threadsafe(self.called.set)
        self.gate.wait(30)
        if self._error is not None:
            raise self._error


def others() -> set[asyncio.Task[object]]:
    return asyncio.all_tasks() - {asyncio.current_task()}


async def ended() -> None:
    """Until all that was begun has ended by itself."""
    if others():
        _, late = await asyncio.wait(others(), timeout=30)
        assert not late


async def test_several_batches_are_tidied_up_after_once_and_in_a_thread() -> None:
    backend = Backend()
    backend.gate.set()
    tidying = Tidying(backend.forget, pause=0)
    for _ in range(5):
        tidying.observe(BATCH)
    await ended()
    (thread,) = backend.threads
    assert thread is not threading.current_thread()
    tidying.observe(BATCH)
    await ended()
    assert len(backend.threads) == 2


async def test_a_batch_that_ends_meanwhile_is_tidied_up_after_as_well() -> None:
    backend = Backend()
    tidying = Tidying(backend.forget, pause=0)
    tidying.observe(BATCH)
    await asyncio.wait_for(backend.called.wait(), 30)
    tidying.observe(BATCH)
    backend.gate.set()
    await ended()
    assert len(backend.threads) == 2


async def test_what_goes_wrong_is_told_once_and_the_next_batch_is_tidied_up_after(
    caplog: pytest.LogCaptureFixture,
) -> None:
    backend = Backend(OSError("gone"))
    backend.gate.set()
    tidying = Tidying(backend.forget, pause=0)
    for _ in range(2):
        tidying.observe(BATCH)
        await ended()
    assert [record.getMessage() for record in caplog.records] == ["memory could not be handed back"]
    assert len(backend.threads) == 2


async def test_without_a_batch_and_after_the_end_nothing_is_begun() -> None:
    tidying = Tidying(Backend().forget, pause=0)
    tidying.observe(WorkerReplaced(at=0, device="cpu", lost=1))
    assert not others()
    await tidying.aclose()
    tidying.observe(BATCH)
    assert not others()


@pytest.mark.parametrize("pause", [600, 0], ids=["pausing", "calling"])
async def test_closing_waits_neither_for_the_pause_nor_for_a_call(pause: float) -> None:
    backend = Backend()
    tidying = Tidying(backend.forget, pause)
    tidying.observe(BATCH)
    if not pause:
        await asyncio.wait_for(backend.called.wait(), 30)
    await asyncio.wait_for(tidying.aclose(), 20)
    assert not others()
    backend.gate.set()
