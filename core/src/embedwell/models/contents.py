"""What a model folder of the store holds, file by file, and the digest of it all."""

import hashlib
import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec import Struct

from embedwell.errors import InvalidModel
from embedwell.interfaces.models import content_digest
from embedwell.models.files import Files
from embedwell.models.names import MAX_FILES, FileNames, stray

CHUNK = 4_000_000


class StoredFile(Struct, frozen=True):
    """A file of a model; `sha256` in hexadecimal."""

    path: str
    size: int
    sha256: str


class Contents(Struct, frozen=True):
    """All files of a model, sorted by path."""

    files: tuple[StoredFile, ...]

    @property
    def bytes(self) -> int:
        return sum(file.size for file in self.files)

    @property
    def digest(self) -> str:
        """As `content_digest` has it."""
        return content_digest({file.path: file.sha256 for file in self.files})

    def intact(self, folder: Path) -> bool:
        """Whether each file is there, as large as it was."""
        try:
            return all((folder / file.path).stat().st_size == file.size for file in self.files)
        except (FileNotFoundError, NotADirectoryError):
            return False


class Abandoned(Exception):
    """Nobody waits for the result any more."""


def tidy(folder: Path, files: Files) -> Sequence[str]:
    """The names of its files, sorted; strays of git and the like are removed.

    Raises InvalidModel for names that may not be, links, devices, and too many of them.
    """
    names, seen = FileNames(), list[str]()
    pending = [folder]
    folders = 0
    while pending:
        for entry in sorted(os.scandir(pending.pop()), key=lambda entry: entry.name):
            path = Path(entry.path)
            name = path.relative_to(folder).as_posix()
            is_folder = entry.is_dir(follow_symlinks=False)
            if stray(name):
                (files.rmtree if is_folder else files.unlink)(path)
            elif is_folder:
                pending.append(path)
                folders += 1
            else:
                _check_regular(entry, name)
                seen.append(names.add(name))
        if folders > MAX_FILES:
            raise InvalidModel(f"It has more than {MAX_FILES:,} folders")
    if not seen:
        raise InvalidModel("It has no files")
    return sorted(seen)


def measure(folder: Path, names: Sequence[str], abandoned: Callable[[], bool]) -> Contents:
    """Read every file; raises Abandoned once `abandoned` says so."""
    return Contents(
        tuple(StoredFile(name, *_read(folder / name, abandoned)) for name in sorted(names))
    )


def _read(path: Path, abandoned: Callable[[], bool]) -> tuple[int, str]:
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while data := file.read(CHUNK):
            if abandoned():
                raise Abandoned
            digest.update(data)
            size += len(data)
    return size, digest.hexdigest()


def _check_regular(entry: os.DirEntry[str], name: str) -> None:
    if not stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode):
        raise InvalidModel(f"{name[:100]!a} is not a regular file")
