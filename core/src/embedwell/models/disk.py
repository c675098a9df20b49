"""The store's layout on the disk; every method blocks.

FORMAT                       the layout's number
models/<digest>/files/...    a model; never changed
models/<digest>/manifest.json   its Contents, written last
names/<source>/<name>.json   a Pointer; '/' in the name is '~'
staging/<random>             what is not published yet, or no more
"""

import os
import secrets
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from embedwell.models.contents import Contents
from embedwell.models.files import Files
from embedwell.models.pointers import Pointer
from embedwell.models.room import RESERVE

Key = tuple[str, str]  # source, name
LARGEST = 10_000_000  # bytes of a pointer or a manifest; a thousand of the longest paths are 2
UNREADABLE = (FileNotFoundError, NotADirectoryError, msgspec.MsgspecError, UnicodeDecodeError)
TRAINING = "training"  # is read, never written


class Disk:
    """Makes changes in an order that a crash can interrupt anywhere."""

    def __init__(self, folder: Path, files: Files) -> None:
        self.folder = folder
        self.files = files
        self.models = folder / "models"
        self.names = folder / "names"
        self.staging = folder / "staging"

    def model(self, digest: str) -> Path:
        """The folder that is a snapshot."""
        return self.models / digest / "files"

    def pointer_path(self, key: Key) -> Path:
        source, name = key
        return self.names / source / f"{name.replace('/', '~')}.json"

    def fresh(self, prefix: str = "") -> Path:
        """A path in staging that nobody else has."""
        return self.staging / f"{prefix}{secrets.token_hex(12)}"

    def append(self, path: Path, data: bytes) -> bool:
        """False, and nothing written, rather than take the last of the disk."""
        if self.files.free(self.staging) < RESERVE + len(data):
            return False
        if not path.parent.is_dir():
            self.files.mkdir(path.parent)
        self.files.append(path, data)
        return True

    def settle(self, staged: Path, contents: Contents) -> None:
        """Bring a staged model to the disk for good: its manifest after its files."""
        root = staged / "files"
        for file in contents.files:
            self.files.fsync(root / file.path)
        for folder in _folders(root):
            self.files.fsync(folder)
        manifest = staged / "manifest.json"
        self.files.write(manifest, msgspec.json.encode(contents))
        self.files.fsync(manifest)
        self.files.fsync(staged)

    def place(self, staged: Path, digest: str) -> None:
        """Move a settled model to where it stays; where the same content is, whole, that stays."""
        target = self.models / digest
        if self.complete(digest):
            return
        damaged = self.discard(target) if target.is_dir() else None
        self.files.rename(staged, target)
        self.files.fsync(self.models)
        if damaged is not None:
            self.erase(damaged)

    def complete(self, digest: str) -> bool:
        """Whether a model's files are there, each as large as it was."""
        manifest = self.models / digest / "manifest.json"
        try:
            contents = msgspec.json.decode(manifest.read_bytes()[: LARGEST + 1], type=Contents)
        except UNREADABLE:
            return False
        return contents.digest == digest and contents.intact(self.model(digest))

    def point(self, key: Key, pointer: Pointer | None) -> None:
        """Have the name point to this, for good; None: to nothing."""
        path = self.pointer_path(key)
        if pointer is None:
            with suppress(FileNotFoundError):  # somebody else removed it
                self.files.unlink(path)
        else:
            self._write(path, msgspec.json.encode(pointer))
        self.files.fsync(path.parent)

    def pointer(self, key: Key) -> Pointer | None:
        """What the disk says."""
        try:
            return msgspec.json.decode(self.pointer_path(key).read_bytes(), type=Pointer)
        except FileNotFoundError:
            return None

    def discard(self, path: Path) -> Path:
        """Move a folder out of sight; returns where to, for `erase`."""
        trash = self.fresh("trash-")
        self.files.rename(path, trash)
        return trash

    def erase(self, path: Path) -> None:
        """Remove a file or folder of staging, if it is there."""
        if path.is_dir() and not path.is_symlink():
            self.files.rmtree(path)
        elif path.is_symlink() or path.exists():
            self.files.unlink(path)

    def free(self) -> int:
        return self.files.free(self.folder)

    def used(self) -> int:
        """Bytes of all files below the data directory, but for those that trainers leave there."""
        total = 0
        for folder, folders, names in os.walk(self.folder):
            if Path(folder) == self.folder:
                folders[:] = [name for name in folders if name != TRAINING]
            total += sum(_size(Path(folder, name)) for name in names)
        return total

    def write_durably(self, path: Path, data: bytes) -> None:
        self._write(path, data)
        self.files.fsync(path.parent)

    def _write(self, path: Path, data: bytes) -> None:
        if not path.parent.is_dir():
            self.files.mkdir(path.parent)
            self.files.fsync(path.parent.parent)
        temporary = self.fresh()
        try:
            self.files.write(temporary, data)
            self.files.fsync(temporary)
            self.files.rename(temporary, path)
        except OSError:
            with suppress(OSError):
                self.erase(temporary)
            raise


def _folders(root: Path) -> Sequence[Path]:
    return [*(path for path in root.rglob("*") if path.is_dir()), root]


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except FileNotFoundError:
        return 0  # removed meanwhile
