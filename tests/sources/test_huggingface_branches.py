"""Branches and tags of the Hub: one download for all names of a commit, and who hears of it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from embedwell import Fetch, ModelKey, ModelRef, Snapshot
from tests.sources.hub import COMMIT
from tests.sources.hub_bench import NEWER, REF, TINY, Bench, bench, quiet

OTHER = "refs/pr/1"  # a second name of the same commit


@pytest.fixture
async def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    async with bench(tmp_path, monkeypatch) as made:
        yield made


async def test_downloads_wait_for_their_turn(case: Bench) -> None:
    source = case.make(max_concurrent=1)
    case.add("some-owner/second", 1)
    case.hub.hang_in = "model.safetensors"
    first = await case.begin(source, model=TINY)
    await asyncio.to_thread(case.hub.hanging.wait)
    second = await case.begin(source, model="some-owner/second")
    status = {task.id: task.status for task in case.services.tasks.list()}
    assert status == {first.id: "running", second.id: "queued"}
    case.hub.hang_in = ""
    case.hub.resume.set()
    assert [(await case.ended(task)).status for task in (first, second)] == ["done", "done"]


async def test_names_asked_for_during_a_download_are_written_too(case: Bench) -> None:
    source = case.make()
    case.hub.hang_in = "model.safetensors"
    first = await case.begin(source, model=TINY)
    await asyncio.to_thread(case.hub.hanging.wait)
    second = await case.begin(source, model=TINY, revision=OTHER)
    assert second.id == first.id
    case.hub.resume.set()
    assert (await case.ended(first)).status == "done"
    later = case.make(offline=True)
    for revision in ("main", OTHER):
        found = await later.resolve(ModelRef(TINY, revision))
        assert isinstance(found, Snapshot), revision
        assert found.key.revision == COMMIT


async def test_a_name_is_not_written_for_a_commit_that_it_left(case: Bench) -> None:
    source = case.make()
    stale = await source.resolve(ModelRef(TINY, OTHER))  # nobody runs it
    assert isinstance(stale, Fetch)
    case.hub.repos[TINY].commit = NEWER
    await case.pull(source, model=TINY, revision=OTHER)
    case.hub.repos[TINY].commit = COMMIT
    await stale.run(lambda done, total: None)
    found = await case.make(offline=True).resolve(ModelRef(TINY, OTHER))
    assert isinstance(found, Snapshot)
    assert found.key.revision == NEWER


async def test_a_refresh_joins_the_download_that_is_under_way(case: Bench) -> None:
    source = case.make(refresh_seconds=60)
    await case.pull(source, model=TINY)
    case.hub.repos[TINY].commit = NEWER
    case.hub.repos[TINY].files["model.safetensors"] += b"more"
    case.hub.hang_in = "model.safetensors"
    case.clock.now += 61
    await source.resolve(REF)
    await asyncio.to_thread(case.hub.hanging.wait)
    running = {task.kind: task for task in case.services.tasks.list() if task.status == "running"}
    assert running.keys() == {"download", "refresh"}
    assert (await case.begin(source, model=TINY)).id == running["download"].id
    case.hub.resume.set()
    await quiet()
    moved = await source.resolve(REF)
    assert isinstance(moved, Snapshot)
    assert moved.key.revision == NEWER


async def test_answers_are_forgotten_only_where_something_changed(case: Bench) -> None:
    source = case.make()
    old = ModelKey("huggingface", TINY, COMMIT)
    await case.pull(source, model=TINY)
    assert case.calls == [[]], "a new model"
    await case.pull(source, model=TINY)
    await case.pull(source, model=TINY, revision=OTHER)
    await case.pull(case.make(), model=TINY)
    assert case.calls == [[]]
    case.hub.repos[TINY].commit = NEWER
    await case.pull(source, model=TINY, revision=NEWER)
    assert case.calls == [[]], "no branch moved yet"
    await case.pull(source, model=TINY)
    assert case.calls == [[], [old]]
