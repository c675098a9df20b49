"""One file, one writer: batches, bad disks, bad files, sudden ends."""

import asyncio
import logging
import sqlite3
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from embedwell.errors import ConfigurationError
from embedwell.state.counters import Counters
from embedwell.state.database import QUIET, Database, write
from embedwell.state.pending import Pending, Statement
from embedwell.state.schema import MIGRATIONS
from embedwell.state.tasks import INTERRUPTED, TaskJournal
from embedwell.testing import FakeClock

PUT = "INSERT INTO tags (tag, first) VALUES (?, ?) ON CONFLICT (tag) DO UPDATE SET first = excluded.first"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.sqlite3"


@pytest.fixture
async def database(path: Path) -> AsyncIterator[Database]:
    opened = await Database.open(path)
    yield opened
    await opened.aclose()


def put(database: Database, tag: str, first: int) -> None:
    database.execute(PUT, (tag, first), ("tags", tag))


def rows(path: Path) -> dict[str, int]:
    connection = sqlite3.connect(path)
    found = dict(connection.execute("SELECT tag, first FROM tags").fetchall())
    connection.close()
    return found


async def test_writes_are_on_the_disk_after_a_flush(database: Database, path: Path) -> None:
    put(database, "a", 1)
    put(database, "b", 2)
    put(database, "a", 3)
    assert database.pending == 2, "the same key twice is one write"
    assert await database.flush()
    assert (database.pending, rows(path)) == (0, {"a": 3, "b": 2})


async def test_nobody_need_flush(database: Database, path: Path) -> None:
    put(database, "a", 1)
    async with asyncio.timeout(10):
        while rows(path) != {"a": 1}:
            await asyncio.sleep(0.01)


async def test_closing_writes_and_later_writes_are_ignored(path: Path) -> None:
    database = await Database.open(path)
    put(database, "a", 1)
    await database.aclose()
    put(database, "b", 1)
    assert database.pending == 0
    assert await database.flush()
    await database.aclose()
    assert rows(path) == {"a": 1}


async def test_a_flush_that_is_given_up_loses_nothing(database: Database, path: Path) -> None:
    (pages,) = (await database.read("PRAGMA page_count"))[0]
    await database.read(f"PRAGMA max_page_count = {pages}")
    for number in range(100):
        put(database, f"{number:05000}", number)
    flush = asyncio.create_task(database.flush())
    while database.pending:  # until the batch is with the thread
        await asyncio.sleep(0)
    flush.cancel()
    await asyncio.gather(flush, return_exceptions=True)
    await database.read("PRAGMA max_page_count = 10000")
    assert await database.flush()
    assert len(rows(path)) == 100


async def test_a_full_disk_breaks_nothing_and_is_told_once_a_minute(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = FakeClock()
    database = await Database.open(path, clock)
    (pages,) = (await database.read("PRAGMA page_count"))[0]
    await database.read(f"PRAGMA max_page_count = {pages}")
    for number in range(1_000):
        put(database, f"{number:0500}", number)
    for _ in range(3):
        assert not await database.flush()
    assert database.pending == 1_000
    clock.now += QUIET
    assert not await database.flush()
    complaints = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert len(complaints) == 2
    assert "state.sqlite3 cannot be written (database or disk is full)" in caplog.text
    assert str(path.parent) not in caplog.text
    put(database, f"{7:0500}", 70)
    await database.read("PRAGMA max_page_count = 100000")
    assert await database.flush()
    assert "state.sqlite3 is written again" in caplog.text
    found = rows(path)
    assert (len(found), found[f"{7:0500}"]) == (1_000, 70)
    await database.aclose()


async def test_what_one_failure_of_the_disk_dropped_is_not_said_of_the_next(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = FakeClock()
    database = await Database.open(path, clock)
    database._pending = Pending(most=10)
    for most in (12, 10):
        (pages,) = (await database.read("PRAGMA page_count"))[0]
        await database.read(f"PRAGMA max_page_count = {pages}")
        for number in range(most):
            put(database, f"{most}{number:05000}", number)
        clock.now += QUIET
        assert not await database.flush()
        await database.read("PRAGMA max_page_count = 100000")
        assert await database.flush()
    told = [message.rsplit(", ", 1)[-1] for message in caplog.messages]
    assert told == [f"{n} {w} dropped" for n in (2, 0) for w in ("were", "changes were")]
    await database.aclose()


async def test_what_the_disk_refuses_at_the_end_is_said(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    database = await Database.open(path)
    (pages,) = (await database.read("PRAGMA page_count"))[0]
    await database.read(f"PRAGMA max_page_count = {pages}")
    for number in range(100):
        put(database, f"{number:05000}", number)
    await database.aclose()
    assert "state.sqlite3: 100 changes are lost" in caplog.text


async def test_one_bad_statement_costs_itself_alone(
    database: Database, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(database, "a", 1)
    put(database, "\ud800", 1)  # no such text in UTF-8
    put(database, "big", 2**70)
    database.execute(PUT, (None, 1), "null")
    put(database, "b", 2)
    assert await database.flush()
    assert rows(path) == {"a": 1, "b": 2}
    assert caplog.text.count("a change is lost") == 3


def test_a_transaction_is_whole_or_not_there(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "x", isolation_level=None)
    connection.execute("CREATE TABLE tags (tag TEXT PRIMARY KEY, first INTEGER)")
    good, bad = Statement(PUT, ("a", 1)), Statement("INSERT INTO nowhere VALUES (?)", (1,))
    with pytest.raises(sqlite3.OperationalError, match="nowhere"):
        write(connection, [good, bad])
    assert connection.execute("SELECT count(*) FROM tags").fetchone() == (0,)
    write(connection, [good])
    assert connection.execute("SELECT count(*) FROM tags").fetchone() == (1,)
    connection.close()


def test_the_queue_is_bounded_and_keeps_its_order() -> None:
    pending = Pending(most=3)
    for key in "abcd":
        pending.put(key, Statement(key, ()))
    assert ([*pending.take()], pending.dropped) == (["b", "c", "d"], 1)
    pending.put("e", Statement("e", ()))
    pending.put("c", Statement("newer", ()))
    pending.give_back({key: Statement(key, ()) for key in "bc"})
    taken = pending.take()
    assert [*taken] == ["b", "e", "c"]
    assert taken["c"].sql == "newer"


NO_DATABASE = [b"this is no database" * 100, b"SQLite format 3\0" + b"\xff" * 5_000]


@pytest.mark.parametrize("content", NO_DATABASE)
async def test_a_file_that_is_no_database_is_named_with_a_remedy(
    path: Path, content: bytes
) -> None:
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match="not a database, or a damaged one") as told:
        await Database.open(path)
    assert str(path) in told.value.message
    assert "out of the way" in told.value.message
    assert path.read_bytes() == content, "nothing was overwritten"


async def test_a_damaged_database_is_found_at_the_start(path: Path) -> None:
    database = await Database.open(path)
    for number in range(2_000):
        put(database, f"{number:0100}", number)
    await database.aclose()
    content = bytearray(path.read_bytes())
    content[4096 * 5 : 4096 * 30] = b"\xa5" * (4096 * 25)
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match="a damaged one"):
        await Database.open(path)


async def test_a_newer_format_is_refused_and_left_alone(path: Path) -> None:
    await (await Database.open(path)).aclose()
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    connection.commit()
    connection.close()
    with pytest.raises(ConfigurationError, match="written by a newer Embedwell") as told:
        await Database.open(path)
    assert "install that version, or move it" in told.value.message


async def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="unable to open database file"):
        await Database.open(tmp_path / "none" / "state.sqlite3")


async def test_a_table_of_somebody_else_is_said(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE tags (x)")
    connection.close()
    with pytest.raises(ConfigurationError, match="table tags already exists"):
        await Database.open(path)


async def test_a_start_that_was_cut_short_starts_again(path: Path) -> None:
    path.touch()
    database = await Database.open(path)
    assert (await database.read("PRAGMA user_version"))[0] == (len(MIGRATIONS),)
    assert (await database.read("PRAGMA journal_mode"))[0] == ("wal",)
    await database.aclose()


CHILD = """
import asyncio, sys, time
from pathlib import Path
from embedwell.interfaces.tasks import Task
from embedwell.state.counters import Counters
from embedwell.state.database import Database
from embedwell.state.tasks import TaskJournal

async def main():
    database = await Database.open(Path(sys.argv[1]))
    counters = await Counters.open(database, time.time)
    journal = await TaskJournal.open(database, time.time)
    journal.save(Task(id="1", kind="download", key="a", status="running", created=time.time()))
    for _ in range(5):
        counters.count("owner/model")
    while database.pending:
        await asyncio.sleep(0.01)
    await database.flush()
    print("written", flush=True)
    while True:
        counters.count("owner/busy")
        await asyncio.sleep(0)

asyncio.run(main())
"""


async def test_kill_9_while_it_writes(path: Path) -> None:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CHILD, path, stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    assert await child.stdout.readline() == b"written\n"
    child.kill()
    await child.communicate()
    database = await Database.open(path)
    counters = await Counters.open(database, lambda: 0.0)
    (known,) = [counters.days("owner/model")]
    assert known is not None
    assert sum(known.values()) == 5
    (task,) = (await TaskJournal.open(database, lambda: 9.0)).load()
    assert (task.status, task.error, task.finished) == ("failed", INTERRUPTED, 9.0)
    counters.count("owner/model")
    assert await database.flush()
    await database.aclose()
