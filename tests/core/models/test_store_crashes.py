"""Killed at any call, short of disk at any call: each name is wholly old, wholly new or absent."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedwell.errors import EmbedwellError, InsufficientStorage
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
    for at in range(1, 10_000):
        folder = tmp_path / str(at)
        await case.prepare(folder)
        interrupted = Interrupted(at, way, no_space)
        bench = Bench(folder, files=interrupted, keep_revisions=case.keep)
        try:
            await bench.store.open()
        except EmbedwellError:
            continue  # before the change
        try:
            await case.change(bench)
        except InsufficientStorage as error:
            assert error.message.startswith("The disk is full")
        finally:
            await bench.store.settled()
        assert bench.staged() == [] or interrupted.cleaning
        live = await bench.listed()
        assert live == await reopened(folder)
        assert live["other"] == [OTHER]
        assert live.get("m", []) in (case.before, case.after)
        await bench.publish("m", C)
        if not interrupted.reached:
            break


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
    assert held in (case.before, case.after, []), folder
    assert held or not case.before or not case.after, folder
    assert bench.staged() == []
    assert bench.folders() == {digest(model) for model in [OTHER, *held]}
    await bench.publish("m", C)
    await bench.store.settled()
    assert (await bench.listed())["m"][0] == C
    return held


async def reopened(folder: Path) -> dict[str, list[Model]]:
    bench = Bench(folder)
    await bench.store.peek()
    return await bench.listed()


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
