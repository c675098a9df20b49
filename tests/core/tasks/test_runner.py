"""Tasks: once per key, owned, cancellable, never silent."""

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator

import pytest

from embedwell.errors import Draining, EmbedwellError, SourceError, TaskNotFound
from embedwell.interfaces.events import Event, TaskFinished
from embedwell.interfaces.models import Progress
from embedwell.tasks.runner import TaskRunner
from embedwell.testing import FakeClock


class Bench:
    def __init__(self) -> None:
        self.events: list[Event] = []
        self.gate = asyncio.Event()
        self.runs = 0
        self.runner = TaskRunner(self.events.append, FakeClock(), FakeClock())

    async def work(self, progress: Progress) -> int:
        self.runs += 1
        progress(5, 10)
        progress(3, 10)
        await self.gate.wait()
        return 42


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    yield made
    await made.runner.aclose()


async def test_once_per_key_while_it_runs_then_anew(bench: Bench) -> None:
    first, second = (bench.runner.start("download", "a", bench.work) for _ in range(2))
    assert first.id == second.id
    bench.gate.set()
    assert await bench.runner.result(first.id) == 42
    assert bench.runs == 1
    assert bench.runner.start("download", "a", bench.work).id != first.id


async def test_progress_goes_forward_only(bench: Bench) -> None:
    task = bench.runner.start("download", "a", bench.work)
    await asyncio.sleep(0)
    now = bench.runner.get(task.id)
    assert (now.status, now.done, now.total) == ("running", 5, 10)


async def test_a_task_is_queued_until_its_work_begins(bench: Bench) -> None:
    async def wait(progress: Progress) -> None:
        await bench.gate.wait()
        await bench.work(progress)

    task = bench.runner.start("download", "a", wait)
    await asyncio.sleep(0)
    assert {task.status, bench.runner.get(task.id).status} == {"queued"}
    assert (await bench.runner.cancel(task.id)).status == "cancelled"
    bench.gate.set()
    again = bench.runner.start("download", "a", wait)
    await bench.runner.result(again.id)
    assert bench.runner.get(again.id).status == "done"


async def test_who_waits_may_leave(bench: Bench) -> None:
    task = bench.runner.start("download", "a", bench.work)
    waiter = asyncio.create_task(bench.runner.result(task.id))
    await asyncio.sleep(0)
    waiter.cancel()
    await asyncio.gather(waiter, return_exceptions=True)
    bench.gate.set()
    assert await bench.runner.result(task.id) == 42


async def test_failures_are_told_without_internals(bench: Bench) -> None:
    async def refuse(progress: Progress) -> None:
        raise SourceError("The Hub is down")

    async def crash(progress: Progress) -> None:
        raise ValueError("/secret/path")

    told = bench.runner.start("download", "a", refuse)
    hidden = bench.runner.start("download", "b", crash)
    with pytest.raises(SourceError, match="The Hub is down"):
        await bench.runner.result(told.id)
    with pytest.raises(EmbedwellError, match="internal reason"):
        await bench.runner.result(hidden.id)
    assert "secret" not in str(bench.runner.list())
    assert [e.status for e in bench.events if isinstance(e, TaskFinished)] == ["failed", "failed"]


class Held:
    """Stands for whatever a frame has."""


async def test_a_remembered_failure_holds_nothing_of_its_task(bench: Bench) -> None:
    held: list[weakref.ref[Held]] = []

    async def fail(progress: Progress) -> None:
        local = Held()
        held.append(weakref.ref(local))
        try:
            raise RuntimeError("inner")
        except RuntimeError as error:
            raise SourceError("The Hub is down") from error

    task = bench.runner.start("download", "a", fail)
    with pytest.raises(SourceError, match="The Hub is down"):
        await bench.runner.result(task.id)
    gc.collect()
    assert held[0]() is None


async def test_cancelling(bench: Bench) -> None:
    task = bench.runner.start("download", "a", bench.work)
    await asyncio.sleep(0)
    assert (await bench.runner.cancel(task.id)).status == "cancelled"
    with pytest.raises(TaskNotFound):
        await bench.runner.result(task.id)
    with pytest.raises(TaskNotFound):
        bench.runner.get("nope")


async def test_closing_ends_all_and_what_comes_later(bench: Bench) -> None:
    first = bench.runner.start("download", "a", bench.work)
    await asyncio.sleep(0)
    await bench.runner.aclose()
    later = bench.runner.start("download", "b", bench.work)
    await bench.runner.cancel(later.id)
    assert {bench.runner.get(t.id).status for t in (first, later)} == {"cancelled"}


async def test_who_waits_while_the_server_stops_may_come_again(bench: Bench) -> None:
    task = bench.runner.start("download", "a", bench.work)
    waiter = asyncio.create_task(bench.runner.result(task.id))
    await asyncio.sleep(0)
    await bench.runner.aclose()
    with pytest.raises(Draining):
        await waiter
