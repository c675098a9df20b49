"""Every change that the store makes to the disk, one call each: what a test can make fail."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from embedwell.errors import InsufficientStorage

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class Files:
    """The file system; every method blocks and raises OSError."""

    def mkdir(self, path: Path) -> None:
        """Make a folder that only its owner can enter, and those above it; it may exist."""
        path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def write(self, path: Path, data: bytes) -> None:
        """Make the file anew."""
        path.write_bytes(data)

    def append(self, path: Path, data: bytes) -> None:
        """Write at the end of the file, which is made where there is none."""
        with path.open("ab") as file:
            file.write(data)

    def fsync(self, path: Path) -> None:
        """Have the disk keep a file's bytes, or a folder's names."""
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        """Atomic within a file system; a file takes the place of another one."""
        source.rename(target)

    def unlink(self, path: Path) -> None:
        path.unlink()

    def rmtree(self, path: Path) -> None:
        shutil.rmtree(path)

    def free(self, path: Path) -> int:
        """Bytes that this process may still write."""
        return shutil.disk_usage(path).free


@contextmanager
def full_disk() -> Iterator[None]:
    """A disk without room raises InsufficientStorage; other errors stay what they are."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        why = os.strerror(error.errno)
        raise InsufficientStorage(f"The disk is full: {why}; free some space and retry") from error
