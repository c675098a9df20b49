"""`embedwell verify` as an operator uses it, on small models that a training left behind."""

import io
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from embedwell.cli.main import main
from embedwell.cli.verify_progress import VerifyProgress
from embedwell.engine.tolerances import COMPOSITION, FLOORS
from embedwell.interfaces.tasks import Task
from embedwell.samples import TEXTS
from embedwell.testing import make_model_folder
from embedwell.verify import peer
from embedwell.verify.results import Verification
from tests.core.verify.models import small_model

# One thread: many that wait for each other take minutes where other programs keep processors busy.
CONFIG = """
[engine]
threads = 1
[sources.training]
directory = "runs"
settle_seconds = 0
[sources.huggingface]
download = "never"
"""
WORDS = [f"w{i} w{i * 7 % 200} w{i * i % 200} " * (1 + i % 9) for i in range(40)]


class Done(NamedTuple):
    code: int
    out: str
    errors: str


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with a configuration, two models, and texts of their words."""
    folder = tmp_path_factory.mktemp("verify")
    (folder / "config.toml").write_text(CONFIG)
    (folder / "words.txt").write_text("\n".join(WORDS))
    small_model(folder / "runs" / "near")
    small_model(folder / "runs" / "far", far=256)
    broken = make_model_folder(folder / "runs" / "broken")
    (broken / "config.json").write_text('{"model_type": "nothing-known"}')
    return folder


class Command:
    """Runs the command in this process, in the working directory."""

    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        self._capture = capture

    def __call__(self, *words: str) -> Done:
        with pytest.raises(SystemExit) as ended:
            main(["verify", *words])
        out, errors = self._capture.readouterr()
        return Done(int(str(ended.value.code)), out, errors)


@pytest.fixture
def verify(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    monkeypatch.chdir(place)
    return Command(capsys)


def read(text: str) -> Verification:
    return msgspec.json.decode(text, type=Verification)


def verdicts(found: Verification) -> dict[str, str]:
    return {check.name: check.verdict for check in found.checks}


def test_a_good_model_holds_in_bfloat16(verify: Command) -> None:
    done = verify("near", "--dtype", "bfloat16", "--texts", "words.txt", "--json", "-")
    assert done.code == 0, done
    found = read(done.out)
    assert verdicts(found) == dict.fromkeys(
        ("batches", "precision", "transformers", "sentence-transformers"), "holds"
    )
    assert (found.model, found.source, found.asked, found.dtype) == (
        "near", "training", "bfloat16", "bfloat16",
    )  # fmt: skip
    assert found.packed
    assert "bfloat16 keeps its vectors" in found.why
    assert found.texts == len(TEXTS) + len(WORDS)
    batches, precision, *_ = found.checks
    assert (batches.tolerance, precision.tolerance) == (
        COMPOSITION["bfloat16"], 1 - FLOORS["bfloat16"],
    )  # fmt: skip
    assert precision.worst is not None
    assert precision.mean is not None
    assert 1e-9 < precision.mean <= precision.worst, "rounding is seen"


def test_vectors_that_bfloat16_spoils_are_found_and_the_text_is_named(verify: Command) -> None:
    done = verify("far", "--dtype", "bfloat16", "--texts", "words.txt", "--json", "found.json")
    assert done.code == 65
    found = read(Path("found.json").read_text())
    assert found.dtype == "bfloat16", "what the server tries it with has none of these words"
    assert verdicts(found)["precision"] == "differs"
    assert verdicts(found)["transformers"] == "holds"
    assert "precision is worst for 'w" in done.out
    assert done.out.splitlines()[-1] == "all figures: found.json"
    assert f"differs  {len(TEXTS) + len(WORDS)} texts, " in done.out


def test_a_table_and_progress_for_people(verify: Command) -> None:
    done = verify("near", "--dtype", "float32", "--count", "30")
    assert done.code == 0
    lines = done.out.splitlines()
    assert re.fullmatch(r"training:near@[0-9a-f]{64}", lines[0]), "a tag that can be asked for"
    assert lines[1].startswith("computes in float32 on cpu, packed: packed and single texts agree")
    assert lines[2].split() == ["CHECK", "WHAT", "WORST", "MEAN", "TOLERANCE", "VERDICT"]
    assert [line.split()[0] for line in lines[3:7]] == [
        "batches", "precision", "transformers", "sentence-transformers",
    ]  # fmt: skip
    assert lines[4].endswith("skipped")
    assert "precision: it computes in float32" in lines
    assert lines[-1].startswith("holds, 1 of 4 skipped  30 texts, ")
    assert done.errors.splitlines() == [
        "loading the model",
        "float32: each text alone",
        "float32: in batches",
        "loading the model as transformers has it",
        "transformers: each text alone",
        "sentence-transformers: each text alone",
    ]


def test_without_sentence_transformers_its_check_is_skipped(
    verify: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    done = verify("near", "--dtype", "float32", "--count", "3")
    assert done.code == 0
    assert "sentence-transformers: it is not installed here: pip install" in done.out
    assert "holds, 2 of 4 skipped  3 texts, " in done.out


def test_a_snapshot_that_sentence_transformers_cannot_run_is_said(tmp_path: Path) -> None:
    with pytest.raises(peer.Absent, match=r"^it cannot run this model \(\w+\)$"):
        peer.vectors(tmp_path, ["a"], lambda count: None)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["nope"], 70, "Model not found: nope; `embedwell models` lists those at hand"),
        (["broken"], 70, "embedwell verify failed:\n  broken: "),
        (["near", "--dtype", "int8"], 2, "invalid choice: 'int8'"),
        (["near", "--dtype", "float8"], 2, "invalid choice: 'float8'"),
        (["near", "--count", "0"], 2, "say a number from 1 to 20000"),
        (["near", "--texts", "none.txt"], 70, "none.txt cannot be read: No such file"),
        (["near", "--json", "no/such/file"], 2, "no/such/file: no file can be written there"),
        (["near", "--data-dir", "words.txt"], 2, "server.data_dir: words.txt: File exists"),
        (["a b"], 2, "Not a model name: 'a b'"),
        ([], 2, "required: TAG"),
    ],
)
def test_what_stands_in_the_way_is_said(
    verify: Command, words: list[str], code: int, message: str
) -> None:
    done = verify(*words)
    assert done.code == code
    assert message in done.errors
    assert "Traceback" not in done.errors


def test_the_command_as_it_is_installed_teaches_and_takes_no_lock(place: Path) -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "embedwell", "verify", *words]
        return subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)

    assert "65 a vector is further away" in run("--help").stdout
    assert run("nope").returncode == 70
    assert not [*(place / "data").iterdir()]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_a_bar_that_leaves_nothing_behind() -> None:
    stream = Terminal()
    progress = VerifyProgress(stream)
    task = Task(id="1", kind="download", key="hub:a@1", status="running", done=10, total=40)
    progress.fetching(task)
    step = progress.begin("float32: in batches", 8)
    step(2)
    step(6)
    progress.end()
    fetched, shown = stream.getvalue().split("\n")
    assert "hub:a@1   25 %  10 B of 40 B" in fetched
    assert "██████░░░░░░░░░░░░░░░░░░  float32: in batches  25 %" in shown
    *_, last, blank, end = shown.split("\r")
    assert last.rstrip().endswith("100 %")
    assert (blank.strip(), end) == ("", "")
