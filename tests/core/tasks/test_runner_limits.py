"""Tasks: what is kept, what a stubborn one does, and times."""

import asyncio
import re
from collections.abc import AsyncIterator

import pytest

from embedwell.errors import EmbedwellError, TaskNotFound
from embedwell.interfaces.events import Event, TaskFinished
from embedwell.interfaces.models import Progress
from embedwell.tasks.runner import KEPT, TaskRunner
from embedwell.testing import FakeClock


class Bench:
    def __init__(self) -> None:
        self.events: list[Event] = []
        self.clock, self.wall = FakeClock(), FakeClock()
        self.runner = TaskRunner(self.events.append, self.clock, self.wall)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    yield made
    await made.runner.aclose()


async def nothing(progress: Progress) -> None:
    pass


async def forever(progress: Progress) -> None:
    progress(0, None)
    await asyncio.Event().wait()


async def test_the_oldest_finished_are_forgotten_and_none_that_runs(bench: Bench) -> None:
    running = bench.runner.start("x", "running", forever)
    first = bench.runner.start("x", "first", nothing)
    for i in range(KEPT):
        await bench.runner.result(bench.runner.start("x", str(i), nothing).id)
    assert len(bench.runner.list()) == KEPT + 1
    assert bench.runner.get(running.id).status == "running"
    with pytest.raises(TaskNotFound, match=re.escape(f"Task not found: {first.id}")):
        bench.runner.get(first.id)
    assert bench.runner.list()[0].key == str(KEPT - 1)


async def test_a_task_that_finishes_although_cancelled_is_done(bench: Bench) -> None:
    async def stubborn(progress: Progress) -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "done all the same"
        raise AssertionError

    task = bench.runner.start("x", "a", stubborn)
    await asyncio.sleep(0)
    assert (await bench.runner.cancel(task.id)).status == "done"
    assert await bench.runner.result(task.id) == "done all the same"


async def test_cancelled_before_its_first_step(bench: Bench) -> None:
    task = bench.runner.start("x", "a", forever)
    assert (await bench.runner.cancel(task.id)).status == "cancelled"
    assert bench.runner.start("x", "a", forever).id != task.id


async def test_a_task_that_cancels_itself_failed(bench: Bench) -> None:
    async def odd(progress: Progress) -> None:
        raise asyncio.CancelledError

    task = bench.runner.start("x", "a", odd)
    with pytest.raises(EmbedwellError, match="x a failed for an internal reason"):
        await bench.runner.result(task.id)
    assert bench.runner.get(task.id).status == "failed"


async def test_times_and_the_event(bench: Bench) -> None:
    task = bench.runner.start("x", "a", forever)
    created = bench.wall()
    bench.clock.now += 3
    bench.wall.now += 5
    ended = await bench.runner.cancel(task.id)
    assert (ended.created, ended.finished) == (created, created + 5)
    assert bench.events == [
        TaskFinished(at=bench.clock(), id=task.id, kind="x", key="a", status="cancelled", seconds=3)
    ]


async def test_a_finished_task_reports_no_more_progress(bench: Bench) -> None:
    kept: list[Progress] = []

    async def run(progress: Progress) -> None:
        kept.append(progress)
        progress(4, 3)

    task = bench.runner.start("x", "a", run)
    await bench.runner.result(task.id)
    kept[0](99, 100)
    done = bench.runner.get(task.id)
    assert (done.done, done.total) == (4, 4)
    assert (await bench.runner.cancel(task.id)).status == "done"
