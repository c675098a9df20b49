"""What loads took: the newest counts, the oldest go, a restart changes nothing."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

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
    costs.put(KEY, Cost(weights=1, peak=2, seconds=3.0))
    costs.put(KEY, Cost(weights=90_000_000_000, peak=5, seconds=0.5))
    await database.flush()
    again = await Costs.open(database)
    assert again.get(KEY) == Cost(weights=90_000_000_000, peak=5, seconds=0.5)
    assert again.get(CostKey("abc", "float16", "cpu", "0.1")) is None


async def test_those_measured_longest_ago_leave(database: Database) -> None:
    costs = await Costs.open(database)
    for number in range(MOST):
        costs.put(CostKey(str(number), "float32", "cpu", ""), Cost(number, 0, 0.0))
    costs.put(CostKey("0", "float32", "cpu", ""), Cost(7, 0, 0.0))
    for number in range(3):
        costs.put(CostKey(str(MOST + number), "float32", "cpu", ""), Cost(1, 1, 1.0))
        await database.flush()
        again = await Costs.open(database)
        for remembered in (costs, again):
            assert remembered.get(CostKey(str(number + 1), "float32", "cpu", "")) is None
            assert remembered.get(CostKey(str(number + 2), "float32", "cpu", "")) is not None
            assert remembered.get(CostKey("0", "float32", "cpu", "")) == Cost(7, 0, 0.0)
            assert remembered.get(CostKey(str(MOST + number), "float32", "cpu", "")) is not None
        costs = again
    assert (await database.read("SELECT count(*) FROM costs"))[0] == (MOST,)
