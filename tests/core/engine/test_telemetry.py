"""NVML that is missing, breaks or lies: a real module of that name, in place of the library's."""

import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from embedwell.engine.cuda.telemetry import Board, Telemetry

UUID = "GPU-00000000-0000-0000-0000-000000000000"
WORKING = """
calls = []
class Told:
    def __init__(self, **values): self.__dict__.update(values)
def nvmlInit(): calls.append("init")
def nvmlDeviceGetHandleByUUID(uuid): return uuid
def nvmlDeviceGetName(handle): return "NVIDIA Test 1000"
def nvmlSystemGetDriverVersion(): return b"590.1"
def nvmlDeviceGetMemoryInfo(handle): return Told(total=80_000, used=20_000)
def nvmlDeviceGetUtilizationRates(handle): return Told(gpu=25, memory=3)
"""
WHOLE = Board(name="NVIDIA Test 1000", driver="590.1", total=80_000, used=20_000, utilisation=0.25)
Install = Callable[[str], Telemetry]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """A module `pynvml` of this source, before any other on the path."""

    def make(source: str) -> Telemetry:
        (tmp_path / "pynvml.py").write_text(source)
        monkeypatch.delitem(sys.modules, "pynvml", raising=False)
        monkeypatch.syspath_prepend(str(tmp_path))
        return Telemetry(UUID)

    yield make
    sys.modules.pop("pynvml", None)


def test_what_a_working_library_says(install: Install) -> None:
    telemetry = install(WORKING)
    assert telemetry.read() == telemetry.read() == WHOLE
    assert sys.modules["pynvml"].calls == ["init"]


@pytest.mark.parametrize(
    "source",
    [
        "raise ModuleNotFoundError('No module named pynvml')",
        "def broken(:",
        "",
        WORKING + "def nvmlInit(): raise RuntimeError('NVML Shared Library Not Found')",
        WORKING + "def nvmlDeviceGetHandleByUUID(uuid): raise RuntimeError('No Permission')",
        WORKING + "def nvmlDeviceGetHandleByUUID(uuid): return None",
    ],
    ids=["missing", "damaged", "empty", "no driver", "no permission", "no handle"],
)
def test_absence_is_normal_and_said_once(
    install: Install, source: str, caplog: pytest.LogCaptureFixture
) -> None:
    telemetry = install(source)
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            assert telemetry.read() == Board()
    assert len(caplog.messages) == (0 if "return None" in source else 1)
    assert all("no telemetry of " in message for message in caplog.messages)


def raising(function: str) -> str:
    return WORKING + f"def {function}(*args): raise OSError('driver/library version mismatch')"


def answering(function: str, value: str) -> str:
    return WORKING + f"def {function}(*args): return {value}"


@pytest.mark.parametrize(
    ("source", "lost"),
    [
        (raising("nvmlDeviceGetName"), {"name"}),
        (raising("nvmlSystemGetDriverVersion"), {"driver"}),
        (raising("nvmlDeviceGetMemoryInfo"), {"total", "used"}),
        (raising("nvmlDeviceGetUtilizationRates"), {"utilisation"}),
        (WORKING + "del nvmlDeviceGetUtilizationRates", {"utilisation"}),
        (answering("nvmlDeviceGetName", "None"), {"name"}),
        (answering("nvmlDeviceGetName", "''"), {"name"}),
        (answering("nvmlDeviceGetName", "'two\\nlines'"), {"name"}),
        (answering("nvmlDeviceGetMemoryInfo", "Told(total=10, used=11)"), {"total", "used"}),
        (answering("nvmlDeviceGetMemoryInfo", "Told(total=0, used=0)"), {"total", "used"}),
        (answering("nvmlDeviceGetMemoryInfo", "Told(total=10, used=-1)"), {"total", "used"}),
        (answering("nvmlDeviceGetMemoryInfo", "Told(total=2**64-1, used=0)"), {"total", "used"}),
        (answering("nvmlDeviceGetMemoryInfo", "Told(total='much', used=0)"), {"total", "used"}),
        (answering("nvmlDeviceGetMemoryInfo", "None"), {"total", "used"}),
        (answering("nvmlDeviceGetUtilizationRates", "Told(gpu=900)"), {"utilisation"}),
        (answering("nvmlDeviceGetUtilizationRates", "Told(gpu=float('nan'))"), {"utilisation"}),
    ],
)
def test_one_answer_that_is_missing_or_wrong_costs_itself_alone(
    install: Install, source: str, lost: set[str], caplog: pytest.LogCaptureFixture
) -> None:
    telemetry = install(source)
    with caplog.at_level(logging.INFO):
        boards = [telemetry.read() for _ in range(3)]
    kept = {field: getattr(WHOLE, field) for field in WHOLE.__struct_fields__ if field not in lost}
    assert boards == [Board(**kept)] * 3
    assert len(caplog.messages) == 1


def test_a_driver_that_comes_back_is_asked_again(install: Install) -> None:
    telemetry = install(
        WORKING
        + "def nvmlDeviceGetHandleByUUID(uuid):\n"
        + "    if calls == ['init']: raise RuntimeError('Uninitialized')\n"
        + "    return uuid"
    )
    assert telemetry.read() == Board()
    assert telemetry.read() == WHOLE


def test_a_name_is_cut(install: Install) -> None:
    name = install(answering("nvmlDeviceGetName", "'x' * 5000")).read().name
    assert name == "x" * 100
