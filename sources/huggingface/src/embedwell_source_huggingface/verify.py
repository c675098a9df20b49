"""Whether downloaded files are what their names in the cache say: blobs are named by content."""

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

_SHA256 = re.compile(r"[0-9a-f]{64}")
_GIT = re.compile(r"[0-9a-f]{40}")


class Corrupt(Exception):
    """A file's content is not what was asked for; it has been removed."""


def verify(snapshot: Path, names: Iterable[str]) -> None:
    """Blocks; raises Corrupt for the first file that is damaged, so that it is fetched anew."""
    for name in names:
        link = snapshot / name
        if not link.is_symlink():  # a file system without links: the name of the content is lost
            continue
        blob = link.resolve()
        expected = link.readlink().name
        if _digest(blob, expected) not in (None, expected):
            link.unlink(missing_ok=True)
            blob.unlink(missing_ok=True)
            raise Corrupt(name)


def _digest(blob: Path, expected: str) -> str | None:
    """None where the server's name for the content is no digest that we know."""
    with blob.open("rb") as file:
        if _SHA256.fullmatch(expected):
            return hashlib.file_digest(file, "sha256").hexdigest()
        if _GIT.fullmatch(expected):
            header = f"blob {blob.stat().st_size}\0".encode()
            return hashlib.sha1(header + file.read(), usedforsecurity=False).hexdigest()
    return None
