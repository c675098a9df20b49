"""A snapshot's JSON files, read under limits; every fault is an InvalidModel with its reason."""

import os
from pathlib import Path
from typing import Any

import msgspec

from embedwell.errors import InvalidModel

SMALL = 2_000_000
LARGE = 100_000_000  # tokenizer.json: 33 MB for a vocabulary of 256,000
POINTER = b"version https://git-lfs.github.com/spec/"


def below(folder: str, name: str) -> str:
    """A file's name as seen from the snapshot; the folder "" is the snapshot itself."""
    return f"{folder}/{name}" if folder else name


def contents(root: Path, name: str, limit: int = SMALL) -> bytes | None:
    """A file's bytes; None where there is no such file."""
    path = root / name
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            data = file.read(min(limit, os.fstat(file.fileno()).st_size) + 1)
    except OSError as error:
        raise InvalidModel(f"{name} cannot be read: {error.strerror}") from error
    if len(data) > limit:
        raise InvalidModel(f"{name} is larger than {limit:,} bytes")
    refuse_pointer(data, name)
    return data


def refuse_pointer(data: bytes, name: str) -> None:
    """Raise for what Git LFS leaves in a file's place."""
    if data.startswith(POINTER):
        raise InvalidModel(
            f"{name} is a Git LFS pointer, not the file itself: fetch it by git lfs pull"
        )


def document(root: Path, name: str) -> Any:
    """A small JSON file's value; None where there is no such file."""
    data = contents(root, name)
    if data is None:
        return None
    try:
        return msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidModel(f"{name} is not valid JSON: {error}") from error


def table(root: Path, name: str) -> dict[str, Any] | None:
    """A small JSON file that must hold an object; None where there is no such file."""
    value = document(root, name)
    if value is not None and not isinstance(value, dict):
        raise InvalidModel(f"{name} must hold a JSON object")
    return value


def whole(
    values: dict[str, Any],
    names: tuple[str, ...],
    file: str,
    *,
    most: int,
    default: int | None = None,
) -> int:
    """The first of the named values, an integer in 1..most; raises without one and a default."""
    for name in names:
        value = values.get(name)
        if value is None:
            continue
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
            raise InvalidModel(f"{file}: {name} must be an integer in 1..{most:,}")
        return value
    if default is None:
        raise InvalidModel(f"{file}: {names[0]} is missing")
    return default


def flag(values: dict[str, Any], name: str, file: str, *, default: bool) -> bool:
    """A boolean; null and absent are the default."""
    value = values.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise InvalidModel(f"{file}: {name} must be true or false")
    return value
