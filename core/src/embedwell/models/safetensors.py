"""Headers of safetensors files: what tensors there are, without reading or trusting them."""

import math
from itertools import pairwise
from pathlib import Path

import msgspec
from msgspec import Struct

from embedwell.errors import InvalidModel
from embedwell.models.documents import POINTER, refuse_pointer

MAX_HEADER = 25_000_000
MAX_TENSORS = 50_000
MAX_AXES = 16
BITS = {
    **dict.fromkeys(("BOOL", "U8", "I8"), 8),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 16),
    **dict.fromkeys(("U32", "I32", "F32"), 32),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 64),
    **dict.fromkeys(("F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **{"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6},
}


class Tensor(Struct, frozen=True):
    """One tensor of a file: `bytes` is its size there."""

    dtype: str
    shape: tuple[int, ...]
    bytes: int

    @property
    def elements(self) -> int:
        return math.prod(self.shape)


class Span(Struct, frozen=True):
    """Where a tensor's bytes are in its file, from the file's beginning."""

    dtype: str
    begin: int
    end: int


class _Entry(Struct, frozen=True):
    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]


def read(root: Path, name: str) -> dict[str, Tensor]:
    """The tensors of a file below a snapshot, checked against its size; raises InvalidModel.

    Follows the format at https://github.com/huggingface/safetensors#format: no gaps, no overlap.
    """
    entries, _ = _checked(root, name)
    return {key: _tensor(name, key, entry) for key, entry in entries.items()}


def spans(root: Path, name: str) -> dict[str, Span]:
    """As `read`, saying where the tensors are; in the file's order."""
    entries, start = _checked(root, name)
    found: dict[str, Span] = {}
    for key, entry in sorted(entries.items(), key=lambda item: item[1].data_offsets):
        _tensor(name, key, entry)
        begin, end = entry.data_offsets
        found[key] = Span(entry.dtype, start + begin, start + end)
    return found


def _checked(root: Path, name: str) -> tuple[dict[str, _Entry], int]:
    """The header's entries, laid out without gaps, and where the data begins."""
    try:
        with (root / name).open("rb") as file:
            size = (root / name).stat().st_size
            start = file.read(8)
            length = int.from_bytes(start, "little")
            refuse_pointer(start + file.read(len(POINTER)), name)
            _check_length(name, length, size)
            file.seek(8)
            header = file.read(length)
    except OSError as error:
        raise InvalidModel(f"{name} cannot be read: {error.strerror}") from error
    entries = _entries(name, header)
    _check_layout(name, entries, size - 8 - length)
    return entries, 8 + length


def _check_length(name: str, length: int, size: int) -> None:
    if size < 8 or length > size - 8:
        raise InvalidModel(f"{name} is cut short: its header does not fit in {size:,} bytes")
    if length > MAX_HEADER:
        raise InvalidModel(f"{name}: its header is larger than {MAX_HEADER:,} bytes")


def _entries(name: str, header: bytes) -> dict[str, _Entry]:
    try:
        raw = msgspec.json.decode(header, type=dict[str, msgspec.Raw])
        raw.pop("__metadata__", None)
        if len(raw) > MAX_TENSORS:
            raise InvalidModel(f"{name} has more than {MAX_TENSORS:,} tensors")
        decoder = msgspec.json.Decoder(_Entry)
        return {key: decoder.decode(value) for key, value in raw.items()}
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidModel(f"{name}: its header is damaged: {error}") from error


def _tensor(name: str, key: str, entry: _Entry) -> Tensor:
    begin, end = entry.data_offsets
    shown = key[:100]
    if entry.dtype not in BITS:
        raise InvalidModel(f"{name}: tensor {shown} has the unknown type {entry.dtype[:20]}")
    if len(entry.shape) > MAX_AXES or any(axis < 0 for axis in entry.shape):
        raise InvalidModel(f"{name}: tensor {shown} has an impossible shape")
    if math.prod(entry.shape) * BITS[entry.dtype] != (end - begin) * 8:
        raise InvalidModel(f"{name}: tensor {shown} declares another size than it has")
    return Tensor(entry.dtype, tuple(entry.shape), end - begin)


def _check_layout(name: str, entries: dict[str, _Entry], room: int) -> None:
    spans = sorted(entry.data_offsets for entry in entries.values())
    edges = [(0, 0), *spans, (room, room)]
    if any(begin > end for begin, end in spans) or any(a[1] != b[0] for a, b in pairwise(edges)):
        raise InvalidModel(
            f"{name}: its tensors do not fill the file as declared; is it cut short?"
        )
