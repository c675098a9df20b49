"""Tasks of earlier runs: those that had ended as they ended, the others failed."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from embedwell.interfaces.tasks import Task
from embedwell.state.database import Database
from embedwell.state.tasks import INTERRUPTED, TaskJournal
from embedwell.testing import FakeClock

DONE = Task(id="1", kind="k", key="a", status="done", done=5, total=5, created=1.0, finished=2.0)
RUNNING = Task(id="2", kind="k", key="b", status="running", done=3, created=2.0)
QUEUED = Task(id="3", kind="k", key="c", status="queued", created=3.0)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = await Database.open(tmp_path / "state.sqlite3")
    yield opened
    await opened.aclose()


async def test_what_was_under_way_failed(database: Database) -> None:
    journal = await TaskJournal.open(database, FakeClock())
    assert journal.load() == []
    for task in (QUEUED, DONE, RUNNING):
        journal.save(task)
    await database.flush()
    broken = [
        replace(t, status="failed", error=INTERRUPTED, finished=9.0) for t in (RUNNING, QUEUED)
    ]
    assert (await TaskJournal.open(database, FakeClock(9.0))).load() == [DONE, *broken]
    await database.flush()
    later = await TaskJournal.open(database, FakeClock(99.0))
    assert later.load() == [DONE, *broken], "when it was noticed first"


async def test_the_last_save_counts_and_removing_is_for_good(database: Database) -> None:
    journal = await TaskJournal.open(database, FakeClock())
    journal.save(RUNNING)
    failed = replace(RUNNING, status="failed", error="The Hub is down", finished=4.0)
    journal.save(failed)
    journal.save(DONE)
    journal.remove(DONE.id)
    await database.flush()
    assert (await TaskJournal.open(database, FakeClock())).load() == [failed]


async def test_a_row_that_is_no_task_is_left_out(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    journal = await TaskJournal.open(database, FakeClock())
    journal.save(DONE)
    await database.flush()
    await database.read("UPDATE tasks SET status = 'odd'")
    assert (await TaskJournal.open(database, FakeClock())).load() == []
    assert "a task cannot be read and is left out" in caplog.text
    await database.flush()
    assert await database.read("SELECT * FROM tasks") == []
