"""Killed at any call, short of disk at any call: each name is wholly old, wholly new or absent."""

import asyncio
import errno
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedwell.errors import ConfigurationError, Conflict, InsufficientStorage, ModelNotFound
from embedwell.interfaces.models import ModelRef
from embedwell.models.files import Files
from tests.core.models.store_bench import A, B, Bench, C, Model, digest
from tests.core.models.store_crashes import CALLS, CASES, OTHER, WAYS, Case, Interrupted

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def crashed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of processes that were killed; forked by one without threads."""
    folder = tmp_path_factory.mktemp("crashed")
    command = [sys.executable, "-m", "tests.core.models.store_crashes", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("name", CASES)
async def test_killed_at_any_call(crashed: Path, name: str) -> None:
    case = CASES[name]
    folders = sorted(folder for folder in (crashed / name).iterdir() if folder.name != "base")
    assert len(folders) > 3 * len(WAYS)
    seen = [await whole(folder, case) for folder in folders]
    assert case.before in seen
    assert case.after in seen


@pytest.mark.parametrize("way", ["before", "after", "within"])
@pytest.mark.parametrize("name", [name for name in CASES if name != "start"])
async def test_the_disk_is_full_at_any_call(tmp_path: Path, name: str, way: str) -> None:
    case = CASES[name]
    await case.prepare(tmp_path / "base")
    at = refused = 0
    reached = True
    while reached:
        at += 1
        folder = shutil.copytree(tmp_path / "base", tmp_path / str(at))
        files = Interrupted(at, way, no_space)
        bench = Bench(folder, files=files, keep_revisions=case.keep)
        try:
            await bench.store.open()
        except ConfigurationError:
            continue
        error = await attempted(case, bench)
        reached = files.stop()
        assert error is None or error.message.startswith("The disk is full")
        refused += error is not None
        await as_before_or_after(bench, case, files)
    assert refused >= 2


async def attempted(case: Case, bench: Bench) -> InsufficientStorage | None:
    try:
        await case.change(bench)
    except InsufficientStorage as error:
        return error
    finally:
        await bench.store.settled()
    return None


async def as_before_or_after(bench: Bench, case: Case, files: Interrupted) -> None:
    live = await bench.listed()
    assert live == await reopened(bench.folder)
    assert live.pop("m", []) in (case.before, case.after)
    assert live == {"other": [OTHER]}
    assert bench.staged() == [] or is_cleaning(files.call)
    await bench.publish("m", C)
    await bench.store.settled()
    kept = {digest(model) for models in (await bench.listed()).values() for model in models}
    assert bench.folders() == kept or is_cleaning(files.call)


def is_cleaning(call: tuple[str, Path] | None) -> bool:
    """What could not be cleared away stays until the next start."""
    return call is not None and (call[0] == "rmtree" or call[1].name.startswith("trash-"))


def no_space() -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_every_call_can_be_interrupted() -> None:
    assert set(CALLS) <= set(vars(Interrupted))
    assert set(CALLS) | {"free"} == {name for name in vars(Files) if not name.startswith("_")}


async def whole(folder: Path, case: Case) -> list[Model]:
    """What `m` holds after the next start, which finds nothing half-done."""
    bench = Bench(folder, keep_revisions=case.keep)
    await bench.store.open()
    found = await bench.listed()
    held = found.pop("m", [])
    assert found == {"other": [OTHER]}, folder
    assert held in (case.before, case.after), folder
    assert bench.staged() == []
    used = {digest(model) for model in [OTHER, *held]}
    aside = [*folder.glob("names/*/*.bad")]  # what those named may still be mended
    assert bench.folders() >= used if aside else bench.folders() == used
    await bench.publish("m", C)
    await bench.store.settled()
    assert (await bench.listed())["m"][0] == C
    return held


async def reopened(folder: Path) -> dict[str, list[Model]]:
    bench = Bench(folder)
    await bench.store.peek()
    return await bench.listed()


KEEP = 1
MODELS = [A, B, C]
NAMES = ["m", "M", "n", "o/m"]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.sampled_from(NAMES), st.integers(0, 2)),
        st.tuples(st.just("abort"), st.sampled_from(NAMES), st.integers(0, 2)),
        st.tuples(st.just("remove"), st.sampled_from(NAMES), st.integers(0, 2) | st.none()),
        st.tuples(st.just("restart"), st.just(""), st.just(0)),
    ),
    max_size=15,
)


@settings(max_examples=100)
@given(STEPS)
def test_any_sequence_of_changes_does_what_a_dictionary_would(
    steps: list[tuple[str, str, int | None]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_compare(Path(folder), steps))


async def _compare(folder: Path, steps: list[tuple[str, str, int | None]]) -> None:
    expected: dict[str, list[Model]] = {}
    bench = Bench(folder, keep_revisions=KEEP)
    await bench.store.open()
    for what, name, which in steps:
        if what == "restart":
            bench = Bench(folder, keep_revisions=KEEP)
            await bench.store.open()
        elif what == "remove":
            await _remove(bench, expected, name, which)
        else:
            assert which is not None
            await _publish(bench, expected, name, MODELS[which], what == "abort")
        await bench.store.settled()
        assert await bench.listed() == expected
        kept = [model for models in expected.values() for model in models]
        assert bench.folders() == {digest(model) for model in kept}
        assert bench.staged() == []
        for one in NAMES:
            found = await bench.store.find("upload", ModelRef(one))
            current = [digest(model) for model in expected.get(one, [])][:1]
            assert [found.digest] == current if found else not current


async def _publish(
    bench: Bench, expected: dict[str, list[Model]], name: str, model: Model, abort: bool
) -> None:
    if any(other != name and other.casefold() == name.casefold() for other in expected):
        with pytest.raises(Conflict):
            await bench.publish(name, model)
    elif abort:
        async with bench.store.stage("upload", name) as staging:
            await staging.write("config.json", model["config.json"])
    else:
        await bench.publish(name, model)
        before = [kept for kept in expected.get(name, []) if kept != model]
        expected[name] = [model, *before[:KEEP]]


async def _remove(
    bench: Bench, expected: dict[str, list[Model]], name: str, which: int | None
) -> None:
    ref = ModelRef(name, None if which is None else digest(MODELS[which]))
    before = expected.get(name, [])
    left = [kept for kept in before if which is not None and kept != MODELS[which]]
    if left == before:
        with pytest.raises(ModelNotFound):
            await bench.store.remove("upload", ref)
        return
    await bench.store.remove("upload", ref)
    expected[name] = left
    if not left:
        del expected[name]
