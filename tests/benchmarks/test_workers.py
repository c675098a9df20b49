"""Worker processes with fake engines: what goes there and back, and how they end."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.benchmarks.engines.catalogue import BASELINE, ENTRIES, Entry
from tests.benchmarks.engines.engine import Setting
from tests.benchmarks.speed.contest import Contest, Matter, Place, steps
from tests.benchmarks.speed.progress import Progress
from tests.benchmarks.speed.protocol import Round
from tests.benchmarks.speed.results import Found
from tests.benchmarks.speed.texts import Pair
from tests.benchmarks.speed.workers import NotAvailable, started

PYTHON = Path(sys.executable)
PATIENCE = 20  # seconds
TEXTS = ["a banana", "an apple and a pear", "x" * 101]
CHILD = "import signal; print('up', flush=True); signal.pause()"
OWNER = f"""
import os, signal, sys
from pathlib import Path
from tests.benchmarks.speed.owned import owned
with owned([sys.executable, "-c", {CHILD!r}], log=Path(os.devnull)) as process:
    process.stdout.readline()
    print(process.pid, flush=True)
    signal.pause()
"""


def entry(kind: str, name: str = "fake") -> Entry:
    return Entry(name, "ours", f"tests.benchmarks.fake_engines:{kind}", "float32", 1_000, "a fake")


def setting(folder: Path) -> Setting:
    return Setting(model=folder, exports=folder, scratch=folder / "scratch", cores=1)


def test_a_worker_answers_a_round_with_seconds_rows_and_its_memory(tmp_path: Path) -> None:
    with started(entry("Letters"), PYTHON, setting(tmp_path)) as worker:
        done = worker.ask(Round(TEXTS, rows=True))
    rows = np.frombuffer(done.rows, "<f4").reshape(-1, done.dimensions)
    assert rows.tolist() == [[8, 4], [19, 5], [101, 0]]
    assert len(done.seconds) == 1
    assert 0 < done.resident <= done.peak
    assert "numpy" in worker.versions


def test_texts_asked_alone_take_a_call_each(tmp_path: Path) -> None:
    with started(entry("Letters"), PYTHON, setting(tmp_path)) as worker:
        done = worker.ask(Round(TEXTS, alone=True))
    assert (len(done.seconds), done.rows) == (3, b"")


def test_an_engine_that_cannot_load_says_why_in_a_line(tmp_path: Path) -> None:
    with (
        pytest.raises(NotAvailable, match=r"^ValueError: float32: no such precision$"),
        started(entry("Missing"), PYTHON, setting(tmp_path)),
    ):
        pass


def test_an_interpreter_that_is_not_there_says_so(tmp_path: Path) -> None:
    with (
        pytest.raises(NotAvailable, match="its process ended: FileNotFoundError"),
        started(entry("Letters"), tmp_path / "python", setting(tmp_path)),
    ):
        pass


def test_a_process_that_ended_is_told_from_one_that_failed(tmp_path: Path) -> None:
    with started(entry("Dying"), PYTHON, setting(tmp_path)) as worker:
        with pytest.raises(NotAvailable, match="its process ended: killed by something"):
            worker.ask(Round(["one"]))
        with pytest.raises(NotAvailable, match="its process ended"):
            worker.ask(Round(TEXTS))


def test_a_worker_ends_when_its_block_is_left(tmp_path: Path) -> None:
    with started(entry("Letters"), PYTHON, setting(tmp_path)) as worker:
        handle = os.pidfd_open(worker.pid)
    assert ended(handle)


def test_what_is_owned_ends_with_an_owner_that_is_killed() -> None:
    with subprocess.Popen([PYTHON, "-c", OWNER], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        handle = os.pidfd_open(int(owner.stdout.readline()))
        owner.send_signal(signal.SIGKILL)
    assert ended(handle)


def ended(handle: int) -> bool:
    readable, _, _ = select.select([handle], [], [], PATIENCE)
    os.close(handle)
    return bool(readable)


def contest(entries: Sequence[Entry], folder: Path, *pairs: Pair) -> list[Found]:
    matter = Matter(texts=TEXTS, tokens=30, short=["a", "b"], pairs=pairs, rounds=2)
    with (folder / "progress").open("w") as stream:
        met = Contest(entries, matter, Progress(steps(entries, matter), stream))
        return met.run(Place({"ours": PYTHON}, setting(folder)))


def test_a_contest_takes_turns_and_goes_on_without_those_that_fail(tmp_path: Path) -> None:
    entries = [
        entry("Letters", BASELINE), entry("Missing", "m"), entry("Failing", "f"), entry("Letters", "ok"),
    ]  # fmt: skip
    base, missing, failing, ok = contest(entries, tmp_path)
    assert (len(base.seconds), len(base.alone)) == (2, 2)
    assert (missing.missing, failing.missing) == (
        "ValueError: float32: no such precision",
        "RuntimeError: too long",
    )
    assert failing.seconds == ()
    assert ok.cosine_min == pytest.approx(1)
    said = (tmp_path / "progress").read_text().splitlines()
    rounds = [line.partition("] ")[2] for line in said if "round" in line]
    assert rounds == [
        f"round 1 of 2: {BASELINE}", "round 1 of 2: f", "round 1 of 2: ok",
        f"round 2 of 2: {BASELINE}", "round 2 of 2: ok",
    ]  # fmt: skip


def test_pairs_are_judged_by_the_order_of_their_cosines(tmp_path: Path) -> None:
    pairs = [Pair(TEXTS[0], TEXTS[0], 5), Pair(TEXTS[0], TEXTS[1], 3), Pair(TEXTS[0], TEXTS[2], 0)]
    (found,) = contest([entry("Letters", BASELINE)], tmp_path, *pairs)
    assert found.correlation == pytest.approx(1)


def test_every_engine_of_the_catalogue_has_a_file_of_its_own_here() -> None:
    root = Path(__file__).parents[2]
    for item in ENTRIES:
        module, name = item.place.split(":")
        assert f"class {name}(Engine)" in (root / f"{module.replace('.', '/')}.py").read_text()
