"""What loads took: the newest counts, the oldest go, a restart changes nothing."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from embedwell.interfaces.encoders import Verdict
from embedwell.state.costs import MOST, Cost, CostKey, Costs
from embedwell.state.database import Database

KEY = CostKey(digest="abc", dtype="float32", device="cpu", engine="0.1")


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = await Database.open(tmp_path / "state.sqlite3")
    yield opened
    await opened.aclose()


async def test_a_measurement_is_there_after_a_restart(database: Database) -> None:
    costs = await Costs.open(database)
    assert costs.get(KEY) is None
    costs.put(KEY, Cost(weights=1, seconds=3.0))
    costs.put(KEY, Cost(weights=90_000_000_000, seconds=0.5))
    await database.flush()
    again = await Costs.open(database)
    assert again.get(KEY) == Cost(weights=90_000_000_000, seconds=0.5)
    assert again.get(CostKey("abc", "float16", "cpu", "0.1")) is None


VERDICT = Verdict(
    dtype="bfloat16", packed=False, single=True, fast=True, deviation=1e-9, cosine=0.99, why='"é"'
)
# The first format's, as servers have it on their disks.
FIRST = """
CREATE TABLE tags (tag TEXT PRIMARY KEY, first INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE counts (tag TEXT NOT NULL, day INTEGER NOT NULL, requests INTEGER NOT NULL,
    PRIMARY KEY (tag, day)) WITHOUT ROWID;
CREATE TABLE costs (digest TEXT NOT NULL, dtype TEXT NOT NULL, device TEXT NOT NULL,
    engine TEXT NOT NULL, weights INTEGER NOT NULL, peak INTEGER NOT NULL, seconds REAL NOT NULL,
    measured INTEGER NOT NULL, PRIMARY KEY (digest, dtype, device, engine)) WITHOUT ROWID;
CREATE TABLE tasks (id TEXT PRIMARY KEY, kind TEXT NOT NULL, key TEXT NOT NULL,
    status TEXT NOT NULL, done INTEGER NOT NULL, total INTEGER, error TEXT,
    created REAL NOT NULL, finished REAL) WITHOUT ROWID;
INSERT INTO tags VALUES ('a/b', 7);
INSERT INTO counts VALUES ('a/b', 20000, 3);
INSERT INTO costs VALUES ('abc', 'float32', 'cpu', '0.1', 5, 6, 7.5, 4);
PRAGMA user_version = 1;
"""


async def test_what_was_found_is_there_after_a_restart(database: Database) -> None:
    costs = await Costs.open(database)
    costs.put(KEY, Cost(1, 3.0, Verdict(dtype="float32", packed=True)))
    costs.put(KEY, Cost(1, 3.0, VERDICT))
    await database.flush()
    assert (await Costs.open(database)).get(KEY) == Cost(1, 3.0, VERDICT)


async def test_a_file_of_the_first_format_keeps_what_is_in_it(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite3"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(FIRST)
    for _ in range(2):
        database = await Database.open(path)
        costs = await Costs.open(database)
        assert costs.get(KEY) == Cost(5, 7.5, None), "what it found is not known yet"
        assert await database.read("SELECT tag, first FROM tags") == [("a/b", 7)]
        assert await database.read("SELECT tag, day, requests FROM counts") == [("a/b", 20000, 3)]
        await database.aclose()
    database = await Database.open(path)
    costs = await Costs.open(database)
    costs.put(KEY, Cost(5, 7.5, VERDICT))
    await database.flush()
    assert (await Costs.open(database)).get(KEY) == Cost(5, 7.5, VERDICT)
    await database.aclose()


@pytest.mark.parametrize(
    "text",
    ["", "null", "nonsense", "[]", '{"packed": true}', '{"dtype": 7, "packed": true}'],
)
async def test_a_finding_of_another_form_is_dropped_and_the_rest_kept(
    database: Database, text: str
) -> None:
    costs = await Costs.open(database)
    costs.put(KEY, Cost(1, 3.0, VERDICT))
    await database.flush()
    database.execute("UPDATE costs SET verdict = ?", (text,), "test")
    await database.flush()
    assert (await Costs.open(database)).get(KEY) == Cost(1, 3.0, None)


async def test_a_finding_of_a_later_form_that_says_more_is_read(database: Database) -> None:
    costs = await Costs.open(database)
    costs.put(KEY, Cost(1, 3.0, VERDICT))
    await database.flush()
    text = '{"dtype": "float32", "packed": true, "later": [1]}'
    database.execute("UPDATE costs SET verdict = ?", (text,), "test")
    await database.flush()
    found = (await Costs.open(database)).get(KEY)
    assert found == Cost(1, 3.0, Verdict(dtype="float32", packed=True))


async def test_those_measured_longest_ago_leave(database: Database) -> None:
    costs = await Costs.open(database)
    for number in range(MOST):
        costs.put(CostKey(str(number), "float32", "cpu", ""), Cost(number, 0.0))
    costs.put(CostKey("0", "float32", "cpu", ""), Cost(7, 0.0))
    for number in range(3):
        costs.put(CostKey(str(MOST + number), "float32", "cpu", ""), Cost(1, 1.0))
        await database.flush()
        again = await Costs.open(database)
        for remembered in (costs, again):
            assert remembered.get(CostKey(str(number + 1), "float32", "cpu", "")) is None
            assert remembered.get(CostKey(str(number + 2), "float32", "cpu", "")) is not None
            assert remembered.get(CostKey("0", "float32", "cpu", "")) == Cost(7, 0.0)
            assert remembered.get(CostKey(str(MOST + number), "float32", "cpu", "")) is not None
        costs = again
    assert (await database.read("SELECT count(*) FROM costs"))[0] == (MOST,)
