"""Headers of safetensors files: what they may claim, and what is believed."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedwell.errors import InvalidModel
from embedwell.models import safetensors
from embedwell.models.safetensors import Tensor

NAME = "model.safetensors"


def packed(header: Any, data: int = 0) -> bytes:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(raw).to_bytes(8, "little") + raw + bytes(data)


def entry(begin: int, end: int, shape: list[int], dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def read(folder: Path, data: bytes) -> dict[str, Tensor]:
    (folder / NAME).write_bytes(data)
    return safetensors.read(folder, NAME)


def test_what_it_says_of_tensors(tmp_path: Path) -> None:
    header = {
        "__metadata__": {"format": "pt", "shape": "of no interest"},
        "b": entry(8, 14, [3], "BF16"),
        "a": entry(0, 8, [1, 2]),
        "scalar": entry(14, 18, []),
        "none": entry(18, 18, [0, 7]),
    }
    found = read(tmp_path, packed(header, 18))
    assert found["a"] == Tensor("F32", (1, 2), 8)
    assert {name: tensor.elements for name, tensor in found.items()} == {
        "a": 2, "b": 3, "scalar": 1, "none": 0,
    }  # fmt: skip


def test_it_reads_what_the_library_writes(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(3, 5), "y": torch.zeros(2, dtype=torch.int64)}, tmp_path / NAME)
    found = safetensors.read(tmp_path, NAME)
    assert found == {"x": Tensor("F32", (3, 5), 60), "y": Tensor("I64", (2,), 16)}


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "cut short"),
        (b"1234567", "cut short"),
        ((1 << 63).to_bytes(8, "little"), "cut short"),
        (packed({"a": entry(0, 8, [2])}, 7), "do not fill the file"),
        (packed({"a": entry(0, 8, [2])}, 9), "do not fill the file"),
        (packed({"a": entry(4, 12, [2])}, 12), "do not fill the file"),
        (packed({"a": entry(0, 8, [2]), "b": entry(4, 12, [2])}, 12), "do not fill the file"),
        (packed({"a": entry(8, 0, [2])}, 8), "do not fill the file"),
        (packed({"a": entry(0, 8, [3])}, 8), "a declares another size than it has"),
        (packed({"a": entry(0, 8, [2], "Q4")}, 8), "unknown type Q4"),
        (packed({"a": entry(0, 8, [-1, -2])}, 8), "impossible shape"),
        (packed({"a": entry(0, 8, [1] * 17)}, 8), "impossible shape"),
        (packed({"a": entry(0, 8, [10**30])}, 8), "damaged|another size"),
        (packed({"a": {"dtype": "F32"}}), "damaged"),
        (packed([1]), "damaged"),
        (packed(b"{"), "damaged"),
        (packed(b"\xff\xff"), "damaged"),
        (packed(b"[" * 100_000), "damaged"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:x\n", "Git LFS pointer"),
    ],
)
def test_lies_are_refused(tmp_path: Path, data: bytes, why: str) -> None:
    with pytest.raises(InvalidModel, match=rf"model.safetensors.*({why})"):
        read(tmp_path, data)


def test_sizes_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many = {str(i): entry(0, 0, [0]) for i in range(50_001)}
    with pytest.raises(InvalidModel, match="more than 50,000 tensors"):
        read(tmp_path, packed(many))
    with pytest.raises(InvalidModel, match="larger than 25,000,000 bytes"):
        read(tmp_path, packed(b" " * 25_000_001))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidModel, match=r"model.safetensors cannot be read: No such file"):
        safetensors.read(tmp_path, NAME)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_header_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    folder = tmp_path_factory.getbasetemp()
    for content in (data, packed(data)):
        with suppress(InvalidModel):
            assert all(tensor.bytes <= len(content) for tensor in read(folder, content).values())
