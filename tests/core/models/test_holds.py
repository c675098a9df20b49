"""Holds: files stay while somebody reads them, and nobody begins to once they are going."""

import asyncio
from pathlib import Path

import pytest

from embedwell.interfaces.models import ModelKey, Snapshot
from embedwell.models import holds as module
from embedwell.models.holds import Gone, Holds

PATH = Path("models/x/files")
SNAPSHOT = Snapshot(PATH, ModelKey("upload", "m", "r"), "x")


def test_a_folder_is_held_until_the_last_user_leaves() -> None:
    holds = Holds()
    with holds.hold(SNAPSHOT):
        with holds.hold(SNAPSHOT):
            assert holds.held(PATH)
        assert holds.held(PATH)
    assert not holds.held(PATH)


def test_a_held_folder_is_not_doomed() -> None:
    holds = Holds()
    with holds.hold(SNAPSHOT):
        assert not holds.doom(PATH)
        with holds.hold(SNAPSHOT):
            pass
    assert holds.doom(PATH)


def test_a_doomed_folder_gives_no_holds_until_it_is_revived() -> None:
    holds = Holds()
    assert holds.doom(PATH)
    with pytest.raises(Gone, match="upload:m@r"), holds.hold(SNAPSHOT):
        pytest.fail("held")
    assert not holds.held(PATH)
    holds.revive(PATH)
    with holds.hold(SNAPSHOT):
        assert holds.held(PATH)


def test_a_user_that_fails_leaves_too() -> None:
    holds = Holds()
    with pytest.raises(ZeroDivisionError), holds.hold(SNAPSHOT):
        raise ZeroDivisionError
    assert not holds.held(PATH)


async def test_released_waits_for_all_who_came_before_it_was_free() -> None:
    holds = Holds()
    await holds.released(PATH)
    with holds.hold(SNAPSHOT):
        waiting = [asyncio.create_task(holds.released(PATH)) for _ in range(2)]
        with holds.hold(SNAPSHOT):
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not any(task.done() for task in waiting)
    await asyncio.gather(*waiting)


async def test_released_waits_on_when_it_is_held_again_at_once() -> None:
    holds = Holds()
    with holds.hold(SNAPSHOT):
        waiting = asyncio.create_task(holds.released(PATH))
        await asyncio.sleep(0)
    with holds.hold(SNAPSHOT):
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not waiting.done()
    await waiting


def test_what_is_doomed_is_remembered_within_bounds() -> None:
    holds = Holds()
    for i in range(module.REMEMBERED + 1):
        holds.doom(Path(str(i)))
    with holds.hold(Snapshot(Path("0"), SNAPSHOT.key, "x")):
        pass
    with pytest.raises(Gone), holds.hold(Snapshot(Path("1"), SNAPSHOT.key, "x")):
        pass
