"""NaN and infinity in weights: found wherever they are, in every float type, in flat memory."""

import json
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedwell.errors import InvalidModel
from embedwell.models import finite, safetensors

NAME = "model.safetensors"
# The largest finite number, the smallest, infinity and a NaN, as bits.
BITS = {
    "F16": ("<u2", 0x7BFF, 0x0001, 0x7C00, 0x7E01),
    "BF16": ("<u2", 0x7F7F, 0x0001, 0x7F80, 0x7FC1),
    "F32": ("<u4", 0x7F7F_FFFF, 0x0000_0001, 0x7F80_0000, 0x7F80_0001),
    "F64": ("<u8", 0x7FEF_FFFF_FFFF_FFFF, 1, 0x7FF0_0000_0000_0000, 0x7FF0_0000_0000_0001),
}
LONG = finite.PIECE + 64  # bytes: more than one piece


def write(folder: Path, **tensors: tuple[str, bytes]) -> None:
    header, place = {}, 0
    for key, (dtype, data) in tensors.items():
        count = len(data) * 8 // safetensors.BITS[dtype]
        header[key] = {"dtype": dtype, "shape": [count], "data_offsets": [place, place + len(data)]}
        place += len(data)
    raw = json.dumps(header).encode()
    body = b"".join(data for _, data in tensors.values())
    (folder / NAME).write_bytes(struct.pack("<Q", len(raw)) + raw + body)


@pytest.mark.parametrize("dtype", BITS)
@pytest.mark.parametrize("negative", [False, True])
@pytest.mark.parametrize("place", ["first", "last of a piece", "first of the next", "last"])
def test_it_is_found_wherever_it_is(tmp_path: Path, dtype: str, negative: bool, place: str) -> None:
    kind, largest, smallest, infinity, nan = BITS[dtype]
    width = np.dtype(kind).itemsize
    values = np.full(LONG // width, largest, kind)
    values[::2] = smallest
    sign = 1 << (8 * width - 1) if negative else 0
    index = {"first": 0, "last of a piece": finite.PIECE // width - 1,
             "first of the next": finite.PIECE // width, "last": -1}[place]  # fmt: skip
    write(tmp_path, a=("I64", b"\xff" * 8), b=(dtype, values.tobytes()))
    finite.check(tmp_path, NAME)
    for wrong in (infinity, nan):
        values[index] = wrong | sign
        write(tmp_path, a=("I64", b"\xff" * 8), b=(dtype, values.tobytes()), c=("F32", bytes(4)))
        with pytest.raises(
            InvalidModel, match=r"model.safetensors: tensor b holds values that are not"
        ):
            finite.check(tmp_path, NAME)


def test_numbers_that_are_no_floats_are_not_looked_at(tmp_path: Path) -> None:
    write(tmp_path, a=("I32", b"\xff" * 8), b=("U8", b"\x7f" * 3), c=("F32", b""))
    finite.check(tmp_path, NAME)


def test_memory_stays_flat(tmp_path: Path) -> None:
    write(tmp_path, a=("F32", bytes(40_000_000)), b=("BF16", bytes(40_000_000)))
    finite.check(tmp_path, NAME)  # imports numpy
    tracemalloc.start()
    finite.check(tmp_path, NAME)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * finite.PIECE


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidModel, match=r"model.safetensors cannot be read"):
        finite.check(tmp_path, NAME)


@given(st.lists(st.floats(width=32), max_size=20))
def test_it_is_numpy_s_idea_of_finite(
    tmp_path_factory: pytest.TempPathFactory, values: list[float]
) -> None:
    folder = tmp_path_factory.getbasetemp()
    array = np.array(values, "<f4")
    write(folder, a=("F32", array.tobytes()))
    if np.isfinite(array).all():
        finite.check(folder, NAME)
    else:
        with pytest.raises(InvalidModel):
            finite.check(folder, NAME)
