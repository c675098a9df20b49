"""What the store finds at its start: half-done work goes, damaged models are put aside."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

from embedwell.errors import ConfigurationError, Invalid
from embedwell.models import tag
from embedwell.models.disk import LARGEST, UNREADABLE, Disk, Key
from embedwell.models.pointers import Pointer

log = logging.getLogger("embedwell.models")

FORMAT = 1
_DIGEST = re.compile(r"[0-9a-f]{64}")
ASIDE = ".bad"


class Damage(NamedTuple):
    """A pointer's file, and why its name is not served."""

    path: Path
    why: str


def recover(disk: Disk) -> dict[Key, Pointer]:
    """All names that point to complete models; raises ConfigurationError for a folder unfit.

    It may be interrupted anywhere, and done again. What a pointer names that was put aside stays,
    for an operator who can mend it.
    """
    with _usable(disk):
        if not _has_format(disk):
            _make_format(disk)
        for folder in (disk.models, disk.names, disk.staging):
            disk.files.mkdir(folder)
        disk.files.fsync(disk.folder)
        _empty(disk)
        pointers, damaged = _survey(disk)
        for path, why in damaged:
            _put_aside(disk, path, why)
        whole = {key: _repaired(disk, key, pointer) for key, pointer in pointers.items()}
        aside = [_read(path) for path in disk.names.glob(f"*/*{ASIDE}")]
        if None not in aside:  # else nobody knows what it named
            used = [*whole.values(), *(pointer for pointer in aside if pointer)]
            _sweep(disk, {kept.digest for pointer in used for kept in pointer.revisions})
    return whole


def peek(disk: Disk) -> dict[Key, Pointer]:
    """As `recover`, but nothing is changed: another process may be using the folder."""
    with _usable(disk):
        if not _has_format(disk) or not disk.names.exists():
            return {}
        pointers, _ = _survey(disk)
        return {key: _without_damage(disk, pointer) for key, pointer in pointers.items()}


@contextmanager
def _usable(disk: Disk) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigurationError(
            [f"server.data_dir: {disk.folder} cannot be used: {error.strerror or error}"]
        ) from error


def _make_format(disk: Disk) -> None:
    disk.files.mkdir(disk.staging)
    disk.write_durably(disk.folder / "FORMAT", f"{FORMAT}\n".encode())


def _has_format(disk: Disk) -> bool:
    """False for a new folder; raises ConfigurationError for one of another version."""
    path = disk.folder / "FORMAT"
    if not path.exists():
        return False
    text = path.read_bytes()[:100].decode(errors="replace").strip()
    if text != str(FORMAT):
        raise ConfigurationError([f"server.data_dir: {_why_not(text)}"])
    return True


def _why_not(text: str) -> str:
    if re.fullmatch(r"[0-9]{1,9}", text):
        remedy = "a newer version" if int(text) > FORMAT else "an older version"
        return (
            f"data directory has format {text}, this version reads {FORMAT}: use {remedy}, "
            "or another directory"
        )
    return (
        "its file FORMAT holds no number that this version knows: restore it "
        f"(this version writes {FORMAT}), or use another directory"
    )


def _empty(disk: Disk) -> None:
    for path in disk.staging.iterdir():
        disk.erase(path)


def _sweep(disk: Disk, used: set[str]) -> None:
    for path in disk.models.iterdir():
        if _DIGEST.fullmatch(path.name) and path.name not in used:
            disk.erase(disk.discard(path))


def _survey(disk: Disk) -> tuple[dict[Key, Pointer], list[Damage]]:
    """Names whose current revision is whole, and the files of the others."""
    pointers, damaged = dict[Key, Pointer](), list[Damage]()
    for path in _pointer_files(disk.names):
        source = path.parent.name
        pointer = _read(path)
        if pointer is None or disk.pointer_path((source, pointer.name)) != path:
            damaged.append(Damage(path, "it is not readable"))
        elif not disk.complete(pointer.current.digest):
            damaged.append(Damage(path, "the model's files are not what they were"))
        else:
            pointers[source, pointer.name] = pointer
    return pointers, damaged


def _pointer_files(folder: Path) -> Iterator[Path]:
    """Not by glob, to which a folder that cannot be read is an empty one."""
    for source in sorted(folder.iterdir()):
        if source.is_dir():
            yield from (path for path in sorted(source.iterdir()) if path.suffix == ".json")


def _repaired(disk: Disk, key: Key, pointer: Pointer) -> Pointer:
    whole = _without_damage(disk, pointer)
    if whole != pointer:
        log.error("previous revisions of %s:%s are damaged, and are gone", *key)
        disk.point(key, whole)
    return whole


def _without_damage(disk: Disk, pointer: Pointer) -> Pointer:
    """`pointer` without the previous revisions that are not whole any more."""
    current, *previous = pointer.revisions
    return Pointer(pointer.name, (current, *(r for r in previous if disk.complete(r.digest))))


def _read(path: Path) -> Pointer | None:
    try:
        pointer = msgspec.json.decode(path.read_bytes()[: LARGEST + 1], type=Pointer)
        ref = tag.parse(pointer.name)
    except (*UNREADABLE, Invalid):
        return None
    digests = (kept.digest for kept in pointer.revisions)
    fine = ref.name == pointer.name and all(map(_DIGEST.fullmatch, digests))
    return pointer if fine and pointer.revisions else None


def _put_aside(disk: Disk, path: Path, why: str) -> None:
    log.error("%s is put aside as %s%s: %s", path.name, path.name, ASIDE, why)
    disk.files.rename(path, path.with_name(f"{path.name}{ASIDE}"))
    disk.files.fsync(path.parent)
