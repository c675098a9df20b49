"""Whether a single file is whole, by its own account; each version of a file is read once."""

import os
from collections.abc import Callable
from pathlib import Path

import msgspec
from msgspec import Struct

MAX_HEADER = 25_000_000  # bytes
MAX_JSON = 100_000_000
REMEMBERED = 10_000


class Unfinished(Exception):
    """There is no complete model here, and why."""


class Signature(Struct, frozen=True):
    """What changes when a file's content does: inode, bytes, and both times in nanoseconds."""

    inode: int
    size: int
    modified: int
    moved: int

    @classmethod
    def of(cls, status: os.stat_result) -> "Signature":
        return cls(status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)

    @property
    def changed(self) -> float:
        """Unix seconds; copies keep `modified`, so the later of both."""
        return max(self.modified, self.moved) / 1e9


class _Tensor(Struct):
    data_offsets: tuple[int, int]


class Checked:
    """Remembers what it found; called in threads."""

    def __init__(self) -> None:
        self._verdicts: dict[tuple[Path, Signature], str] = {}

    def json(self, path: Path, name: str, signature: Signature) -> None:
        """Raises Unfinished, OSError."""
        self._once(_json_fault, path, name, signature)

    def safetensors(self, path: Path, name: str, signature: Signature) -> None:
        """Raises Unfinished, OSError."""
        self._once(_weights_fault, path, name, signature)

    def _once(
        self, fault: Callable[[Path], str], path: Path, name: str, signature: Signature
    ) -> None:
        key = (path, signature)
        verdict = self._verdicts.get(key)
        if verdict is None:
            try:
                verdict = fault(path)
            except FileNotFoundError:
                raise Unfinished(f"{name} is missing") from None
            if len(self._verdicts) >= REMEMBERED:
                self._verdicts.clear()
            self._verdicts[key] = verdict
        if verdict:
            raise Unfinished(f"{name} {verdict}")


def _json_fault(path: Path) -> str:
    with path.open("rb") as file:
        data = file.read(MAX_JSON + 1)
    if len(data) > MAX_JSON:
        return f"is larger than {MAX_JSON:,} bytes"
    try:
        msgspec.json.decode(data, type=msgspec.Raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return "is not valid JSON"
    return ""


def _weights_fault(path: Path) -> str:
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, MAX_HEADER):
            return "has no whole header"
        header = file.read(length)
    try:
        tensors = msgspec.json.decode(header, type=dict[str, msgspec.Raw])
        tensors.pop("__metadata__", None)
        ends = [msgspec.json.decode(raw, type=_Tensor).data_offsets[1] for raw in tensors.values()]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return "has a damaged header"
    declared = 8 + length + max(ends, default=0)
    return "" if declared == size else f"has {size:,} bytes and declares {declared:,}"
