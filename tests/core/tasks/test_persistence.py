"""Tasks that are written down: across restarts, removed, no longer than they are of use."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from embedwell.errors import Conflict, EmbedwellError, SourceError, TaskNotFound
from embedwell.interfaces.models import Progress
from embedwell.interfaces.tasks import Task
from embedwell.state.database import Database
from embedwell.state.tasks import INTERRUPTED, TaskJournal
from embedwell.tasks.runner import KEPT, KEPT_SECONDS, TaskRunner
from embedwell.testing import FakeClock

BEGIN = 1_000_000_000.0


class Memory:
    """A journal that a test can look into; `saves` has every status that was written."""

    def __init__(self, found: Sequence[Task] = ()) -> None:
        self.tasks = {task.id: task for task in found}
        self.saves: list[str] = []

    def save(self, task: Task) -> None:
        self.tasks[task.id] = task
        self.saves.append(task.status)

    def remove(self, id: str) -> None:
        del self.tasks[id]

    def load(self) -> Sequence[Task]:
        return [*self.tasks.values()]


class Bench:
    def __init__(self, found: Sequence[Task] = ()) -> None:
        self.wall = FakeClock(BEGIN)
        self.journal = Memory(found)
        self.runner = TaskRunner(lambda event: None, FakeClock(), self.wall, self.journal)

    def kept(self) -> dict[str, str]:
        """By key, and the same in the journal."""
        listed = {task.id: task for task in self.runner.list()}
        assert listed == self.journal.tasks
        return {task.key: task.status for task in listed.values()}


async def nothing(progress: Progress) -> None:
    progress(1, 2)
    progress(2, 2)


async def forever(progress: Progress) -> None:
    await asyncio.Event().wait()


async def fail(progress: Progress) -> None:
    raise SourceError("The Hub is down")


def ended(key: str, finished: float = BEGIN, status: str = "done") -> Task:
    error = "The Hub is down" if status == "failed" else None
    return Task(
        id=f"id-{key}", kind="x", key=key, status=status, error=error,  # type: ignore[arg-type]
        created=finished - 1, finished=finished,
    )  # fmt: skip


async def test_starts_and_ends_are_written_and_nothing_between() -> None:
    bench = Bench()
    for key, work in (("a", nothing), ("b", fail)):
        task = bench.runner.start("x", key, work)
        await asyncio.gather(bench.runner.result(task.id), return_exceptions=True)
    bench.runner.start("x", "c", forever)
    await bench.runner.aclose()
    assert bench.journal.saves == ["queued", "done", "queued", "failed", "queued", "cancelled"]
    assert bench.kept() == {"c": "cancelled", "b": "failed", "a": "done"}


async def test_earlier_tasks_are_listed_and_can_be_asked() -> None:
    bench = Bench([ended("a"), ended("b", status="failed"), ended("c", status="cancelled")])
    assert bench.kept() == {"c": "cancelled", "b": "failed", "a": "done"}
    assert (await bench.runner.cancel("id-a")).status == "done"
    assert await bench.runner.result("id-a") is None
    with pytest.raises(EmbedwellError, match="The Hub is down"):
        await bench.runner.result("id-b")
    with pytest.raises(TaskNotFound, match="The task was cancelled"):
        await bench.runner.result("id-c")


async def test_after_a_failure_the_same_key_starts_anew() -> None:
    bench = Bench([ended("a", status="failed")])
    first = bench.runner.start("x", "a", fail)
    with pytest.raises(SourceError, match="The Hub is down"):
        await bench.runner.result(first.id)
    second = bench.runner.start("x", "a", nothing)
    assert await bench.runner.result(second.id) is None
    assert len({first.id, second.id, "id-a"}) == 3
    assert [task.status for task in bench.runner.list()] == ["done", "failed", "failed"]


async def test_removing() -> None:
    bench = Bench([ended("a")])
    running = bench.runner.start("x", "b", forever)
    with pytest.raises(Conflict, match=f"Task {running.id} has not ended: cancel it first"):
        bench.runner.remove(running.id)
    await bench.runner.cancel(running.id)
    bench.runner.remove(running.id)
    bench.runner.remove("id-a")
    assert bench.kept() == {}
    with pytest.raises(TaskNotFound, match="Task not found: id-a"):
        bench.runner.remove("id-a")


async def test_after_seven_days_nobody_asks_any_more() -> None:
    bench = Bench([ended("a", BEGIN - KEPT_SECONDS - 1), ended("b", BEGIN - KEPT_SECONDS + 1)])
    assert [*bench.journal.tasks] == ["id-b"]
    running = bench.runner.start("x", "c", forever)
    assert bench.kept() == {"c": "queued", "b": "done"}
    bench.wall.now += 2
    assert bench.kept() == {"c": "queued"}
    bench.wall.now += 10 * KEPT_SECONDS
    assert (await bench.runner.cancel(running.id)).status == "cancelled"
    assert bench.kept() == {"c": "cancelled"}


async def test_a_thousand_are_enough() -> None:
    bench = Bench([ended(str(number)) for number in range(KEPT + 5)])
    assert len(bench.kept()) == KEPT
    await bench.runner.result(bench.runner.start("x", "new", nothing).id)
    newest, *_, oldest = bench.kept()
    assert (newest, oldest) == ("new", "6")


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = await Database.open(tmp_path / "state.sqlite3")
    yield opened
    await opened.aclose()


async def runner_on(database: Database) -> TaskRunner:
    wall = FakeClock(BEGIN)
    journal = await TaskJournal.open(database, wall)
    return TaskRunner(lambda event: None, FakeClock(), wall, journal)


async def test_on_a_disk(database: Database) -> None:
    first = await runner_on(database)
    done, failed = first.start("x", "a", nothing), first.start("x", "b", fail)
    await asyncio.gather(*(first.result(t.id) for t in (done, failed)), return_exceptions=True)
    lost = first.start("x", "c", forever)
    await database.flush()
    second = await runner_on(database)  # as after a crash: the first was never closed
    assert second.get(done.id) == first.get(done.id)
    assert second.get(failed.id).error == "The Hub is down"
    assert (second.get(lost.id).status, second.get(lost.id).error) == ("failed", INTERRUPTED)
    assert second.get(lost.id).finished == BEGIN
    second.remove(failed.id)
    await first.aclose()


async def test_a_disk_that_refuses_stops_no_task(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    (pages,) = (await database.read("PRAGMA page_count"))[0]
    await database.read(f"PRAGMA max_page_count = {pages}")
    runner = await runner_on(database)
    tasks = [runner.start("x", f"{number:03000}", nothing) for number in range(10)]
    for task in tasks:
        await runner.result(task.id)
    assert not await database.flush()
    assert {task.status for task in runner.list()} == {"done"}
    assert [r.levelno for r in caplog.records] == [logging.ERROR]
    await database.read("PRAGMA max_page_count = 10000")
    assert await database.flush()
    assert len((await TaskJournal.open(database, FakeClock(BEGIN))).load()) == 10
