"""A GPU's memory, and the file that stands in for it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from embedwell.engine.backends import create
from embedwell.engine.cuda.memory import CudaMemory, usable
from embedwell.engine.cuda.telemetry import Telemetry, board_of
from embedwell.errors import ConfigurationError
from embedwell.interfaces.encoders import DeviceMemory, Memory
from embedwell.testing import FileMemory

GB = 10**9
without = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")


@without
def test_without_a_gpu_nothing_is_measured() -> None:
    with pytest.raises(OSError, match=r"^the memory of cuda:3 cannot be measured: \w+") as caught:
        CudaMemory(3).measure()
    assert "\n" not in str(caught.value)
    with pytest.raises(OSError, match=r"^there is no cuda:0: "):
        board_of(0)


@without
def test_a_gpu_that_was_chosen_is_refused_at_the_start() -> None:
    for device in ("cuda", "cuda:1"):
        with pytest.raises(ConfigurationError, match=f"engine.device: {device} is asked for"):
            create(device, "auto", 1)


def test_without_torch_the_error_is_the_same_kind(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError('No module named torch')")
    script = (
        "from embedwell.engine.cuda.memory import CudaMemory\n"
        "try: CudaMemory(0).measure()\n"
        "except OSError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    said = "the memory of cuda:0 cannot be measured: No module named torch"
    assert done.stdout.strip() == said


@pytest.mark.parametrize(
    ("free", "reserved", "allocated", "expected"),
    [(30, 0, 0, 30), (30, 50, 40, 39), (30, 40, 50, 30), (30, 50, 0, 75), (95, 50, 0, 100), (0, 1, 1, 0)],
)  # fmt: skip
def test_what_the_allocator_keeps_is_ours(
    free: int, reserved: int, allocated: int, expected: int
) -> None:
    assert usable(free, 100, reserved, allocated) == expected


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_gpu_is_measured() -> None:
    memory: DeviceMemory = CudaMemory(0)
    before = memory.measure()
    assert before.total == torch.cuda.get_device_properties(0).total_memory
    held = torch.zeros(GB // 4, device="cuda:0")
    during = memory.measure()
    assert during.total == before.total
    assert before.free - during.free == pytest.approx(GB, rel=0.1)
    del held
    assert memory.measure().free > during.free + GB // 2, "kept by torch, and still ours"
    assert Telemetry(board_of(0)).read().name is not None
    with pytest.raises(OSError, match="cuda:99"):
        CudaMemory(99).measure()


def test_a_file_says_what_there_is(tmp_path: Path) -> None:
    path = tmp_path / "memory.json"
    memory = FileMemory(path)
    for told, free in [
        ({"total": 10}, 10),
        ({"total": 10, "used_by_others": 4, "fail": None}, 6),
        ({"total": 10, "used_by_others": 14, "fail": "nvml"}, 0),
    ]:
        path.write_text(json.dumps(told))
        assert memory.measure() == Memory(10, free)
    path.write_text('{"total": 10, "used_by_others": 4}')
    memory.taken = 5
    assert memory.measure() == Memory(10, 1)


@pytest.mark.parametrize(
    ("text", "why"),
    [('{"total": 10, "fail": "all"}', "does not answer"), ("{", "is wrong"), ("[]", "is wrong"),
     ('{"total": -1}', "is wrong"), ('{"total": "10"}', "is wrong"), ('{"total": 10, "x": 1}', "is wrong"),
     ('{"total": 10, "fail": "some"}', "is wrong"), (None, "No such file")],
)  # fmt: skip
def test_a_file_may_fail(tmp_path: Path, text: str | None, why: str) -> None:
    if text is not None:
        (tmp_path / "memory.json").write_text(text)
    with pytest.raises(OSError, match=why):
        FileMemory(tmp_path / "memory.json").measure()
