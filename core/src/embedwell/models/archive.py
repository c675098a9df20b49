"""An archive → a model's files: zip, tar or tar.gz, whichever it is by its content.

Contents are written under numbers, and get names of the archive's only once all are checked.
"""

import gzip
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from embedwell.errors import EmbedwellError, InsufficientStorage, InvalidModel
from embedwell.models import tars, zips
from embedwell.models.files import Files, full_disk
from embedwell.models.members import Limits, Member, read, shown
from embedwell.models.room import RESERVE
from embedwell.models.sorting import Sorter, Wanted

_GZIP = b"\x1f\x8b"
_DEFAULT = Limits()
_FREE = Files().free


def unpack(
    archive: Path,
    target: Path,
    *,
    within: str = "",
    only: Wanted | None = None,
    limits: Limits = _DEFAULT,
    share: float = inf,
    free: Callable[[Path], int] = _FREE,
) -> None:
    """Put the files of an archive into the folder `target`; blocks, in flat memory.

    A single folder around everything is taken off; then only what lies below `within` is kept,
    and of that only the names that `only` accepts. `share` is how many bytes the store may still
    hold, `free` says how many the disk of a path still takes. Raises InvalidModel (`target` then
    holds nothing new), InsufficientStorage; OSError where `target` is taken away meanwhile.
    """
    with full_disk(), TemporaryDirectory(prefix=".unpacking-", dir=target) as scratch:
        sorter = Sorter(within.strip("/"), only or _everything, limits)
        with _members(archive, limits) as members:
            _write(members, sorter, _target(Path(scratch), limits, share, free))
        names = sorter.settled()
        _refuse_present(names, target)
        for name, number in names.items():
            _place(Path(scratch, str(number)), target, name)


def _everything(_: str) -> bool:
    return True


@contextmanager
def _members(archive: Path, limits: Limits) -> Iterator[Iterator[Member]]:
    with archive.open("rb") as file:
        start = file.read(512)
        file.seek(0)
        if start.startswith(zips.STARTS):
            yield read(zips.members(archive, limits))
        elif start.startswith(_GZIP):
            with gzip.GzipFile(fileobj=file) as packed:
                yield read(tars.members(tars.Stream(packed, file, limits), limits))
        elif tars.starts(start):
            yield read(tars.members(tars.Stream(file, file, limits), limits))
        else:
            raise InvalidModel("The archive is none of zip, tar and tar.gz")


class _Target(NamedTuple):
    """Where contents are written, and how much of them."""

    folder: Path
    most: int
    too_much: EmbedwellError
    free: Callable[[Path], int]


def _write(members: Iterable[Member], sorter: Sorter, target: _Target) -> None:
    left = target.most
    for member in members:
        target.folder.stat()  # raises once nobody wants the folder any more
        number = sorter.accept(member)
        if number is not None:
            left = _write_one(read(member.chunks()), target.folder / str(number), left, target)


def _write_one(chunks: Iterable[bytes], path: Path, left: int, target: _Target) -> int:
    """How many bytes may still be written after this file."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        for data in chunks:
            left -= len(data)
            if left < 0:
                raise target.too_much
            if target.free(path) < len(data) + RESERVE:
                raise InsufficientStorage("The disk is full: the archive was not taken apart")
            file.write(data)
    return left


def _target(folder: Path, limits: Limits, share: float, free: Callable[[Path], int]) -> _Target:
    if share < limits.bytes:
        full = InsufficientStorage("The store is full (store.max_disk_gb): delete models")
        return _Target(folder, int(share), full, free)
    large = InvalidModel("The archive holds more bytes than a model may have")
    return _Target(folder, limits.bytes, large, free)


def _refuse_present(names: Iterable[str], target: Path) -> None:
    present = next((name for name in names if os.path.lexists(target / name)), None)
    if present is not None:
        raise InvalidModel(f"'{shown(present)}' is in the model already")


def _place(source: Path, target: Path, name: str) -> None:
    *folders, file = name.split("/")
    for folder in folders:
        target /= folder
        target.mkdir(mode=0o700, exist_ok=True)
    source.rename(target / file)
