"""Requests by tag and day: zeros, restarts, wrong clocks, too many tags."""

import asyncio
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedwell.state.counters import DAYS, LEAVING, MOST, Counters
from embedwell.state.database import Database
from embedwell.testing import FakeClock

DAY = 86_400
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp()


class Bench:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.wall = FakeClock(NOON)

    async def open(self) -> None:
        self.database = await Database.open(self.path)
        self.counters = await Counters.open(self.database, self.wall)

    async def restart(self) -> None:
        await self.database.aclose()
        await self.open()


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path / "state.sqlite3")
    await made.open()
    yield made
    await made.database.aclose()


async def test_every_day_is_there_zeros_included_after_a_restart_too(bench: Bench) -> None:
    bench.counters.count("a")
    bench.counters.count("a")
    bench.wall.now += 2 * DAY
    bench.counters.count("a")
    bench.wall.now += DAY
    expected = {"2026-03-01": 2, "2026-03-02": 0, "2026-03-03": 1, "2026-03-04": 0}
    assert bench.counters.days("a") == expected
    await bench.restart()
    assert bench.counters.days("a") == expected
    bench.counters.count("a")
    assert bench.counters.days("a") == expected | {"2026-03-04": 1}


async def test_a_listed_tag_appears_without_requests_and_once(bench: Bench) -> None:
    assert bench.counters.days("a") is None
    bench.counters.seen(["a", "b"])
    bench.wall.now += DAY
    bench.counters.seen(["a"])
    bench.counters.count("b")
    await bench.restart()
    assert bench.counters.days("a") == {"2026-03-01": 0, "2026-03-02": 0}
    assert bench.counters.days("b") == {"2026-03-01": 0, "2026-03-02": 1}


async def test_the_day_is_utcs(bench: Bench) -> None:
    bench.wall.now = datetime(2026, 2, 28, 23, 59, 59, tzinfo=UTC).timestamp()
    bench.counters.count("a")
    bench.wall.now += 1
    bench.counters.count("a")
    assert bench.counters.days("a") == {"2026-02-28": 1, "2026-03-01": 1}


async def test_a_clock_that_goes_back_loses_no_request(bench: Bench) -> None:
    bench.counters.count("a")
    bench.counters.seen(["b"])
    bench.wall.now -= DAY
    assert bench.counters.days("a") == {"2026-03-01": 1}
    assert bench.counters.days("b") == {"2026-03-01": 0}
    bench.counters.count("a")
    assert bench.counters.days("a") == {"2026-02-28": 1, "2026-03-01": 1}
    await bench.restart()
    bench.wall.now += DAY
    bench.counters.count("a")
    assert bench.counters.days("a") == {"2026-02-28": 1, "2026-03-01": 2}


@pytest.mark.parametrize("wall", [-5.0, 0.0, 1e18])
async def test_an_absurd_clock_is_survived(bench: Bench, wall: float) -> None:
    bench.counters.count("a")
    bench.wall.now = wall
    bench.counters.count("a")
    found = bench.counters.days("a")
    assert found is not None
    assert len(found) <= DAYS + 1
    bench.wall.now = NOON
    found = bench.counters.days("a")
    assert found is not None
    assert found["2026-03-01"] == 1


async def test_three_years_are_kept(bench: Bench) -> None:
    for _ in range(DAYS + 3):
        bench.counters.count("a")
        bench.wall.now += DAY
    bench.wall.now -= DAY
    await bench.restart()
    found = bench.counters.days("a")
    assert found is not None
    assert (len(found), sum(found.values())) == (DAYS, DAYS)
    assert len(await bench.database.read("SELECT * FROM counts")) == DAYS


async def test_most_used_by_the_last_week_then_by_all(bench: Bench) -> None:
    for tag, times in (("old", 9), ("older", 8), ("new", 0)):
        for _ in range(times):
            bench.counters.count(tag)
    bench.counters.seen(["never"])
    bench.wall.now += 7 * DAY
    bench.counters.count("new")
    assert bench.counters.most_used(10) == ["new", "old", "older"]
    assert bench.counters.most_used(1) == ["new"]
    bench.wall.now -= DAY
    assert bench.counters.most_used(2) == ["old", "older"]


async def test_made_up_names_push_out_each_other(bench: Bench) -> None:
    for _ in range(2):
        bench.counters.count("real")
    bench.counters.seen(["listed"])
    for number in range(MOST + 500):
        bench.counters.count(f"made-up-{number}")
    bench.counters.seen(f"too-many-{number}" for number in range(MOST))
    last = f"made-up-{MOST + 499}"
    await bench.restart()
    assert sum((bench.counters.days("real") or {}).values()) == 2
    assert bench.counters.days(last) == {"2026-03-01": 1}
    assert bench.counters.days("listed") is None
    kept = (await bench.database.read("SELECT count(*) FROM tags"))[0][0]
    assert MOST - LEAVING <= kept <= MOST
    assert (await bench.database.read("SELECT count(*) FROM counts"))[0][0] <= kept


@pytest.mark.parametrize("flushed", [True, False])
async def test_a_forgotten_tag_begins_anew(bench: Bench, flushed: bool) -> None:
    bench.counters.count("a")
    bench.wall.now += DAY
    for number in range(2 * MOST):
        bench.counters.count(f"{number % MOST}")
    assert bench.counters.days("a") is None
    if flushed:
        await bench.database.flush()
    bench.counters.count("a")
    await bench.restart()
    assert bench.counters.days("a") == {"2026-03-02": 1}


moves = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(-3, 5), st.integers(0, 3)), min_size=1, max_size=12
)


@settings(max_examples=25)
@given(moves)
def test_days_whatever_the_clock_does(moves: list[tuple[str, int, int]]) -> None:
    asyncio.run(_check(moves))


async def _check(moves: list[tuple[str, int, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder) / "state.sqlite3")
        await bench.open()
        counted: dict[str, Counter[str]] = {}
        first: dict[str, date] = {}
        for tag, days, times in moves:
            bench.wall.now += days * DAY
            today = datetime.fromtimestamp(bench.wall.now, UTC).date()
            bench.counters.seen([tag])
            first.setdefault(tag, today)
            for _ in range(times):
                bench.counters.count(tag)
                first[tag] = min(first[tag], today)
                counted.setdefault(tag, Counter())[today.isoformat()] += 1
        await bench.restart()
        for tag, begin in first.items():
            found = bench.counters.days(tag)
            assert found is not None
            assert [*found] == sorted(found)
            span = {(begin + timedelta(n)).isoformat() for n in range((today - begin).days + 1)}
            requests = counted.get(tag, Counter())
            assert set(found) == (span | set(requests) or {begin.isoformat()})
            assert Counter(found) == requests + Counter()
        await bench.database.aclose()
