"""Snapshots that a source keeps outside the store: nobody begins to read what is going."""

import asyncio
from pathlib import Path

import pytest

from embedwell.interfaces.models import ModelKey, Snapshot
from embedwell.models.holds import Gone
from tests.core.models.store_bench import Bench


@pytest.fixture
def snapshot(tmp_path: Path) -> Snapshot:
    return Snapshot(tmp_path / "elsewhere", ModelKey("other", "m", "r"), "x")


async def test_who_comes_after_the_last_user_is_turned_away(
    tmp_path: Path, snapshot: Snapshot
) -> None:
    bench = Bench(tmp_path)
    with bench.holds.hold(snapshot):
        going = asyncio.create_task(bench.store.released(snapshot))
        await asyncio.sleep(0)
        with bench.holds.hold(snapshot):  # it is not going yet
            pass
        assert not going.done()
    await going
    with pytest.raises(Gone), bench.holds.hold(snapshot):
        pytest.fail("held")


async def test_what_is_wanted_again_can_be_used(tmp_path: Path, snapshot: Snapshot) -> None:
    bench = Bench(tmp_path)
    await bench.store.released(snapshot)
    bench.store.revive(snapshot.path)
    with bench.holds.hold(snapshot):
        assert bench.holds.held(snapshot.path)


async def test_who_gives_up_waiting_leaves_it_as_it_is(tmp_path: Path, snapshot: Snapshot) -> None:
    bench = Bench(tmp_path)
    with bench.holds.hold(snapshot):
        going = asyncio.create_task(bench.store.released(snapshot))
        await asyncio.sleep(0)
        going.cancel()
        await asyncio.wait([going])
    with bench.holds.hold(snapshot):
        pass
