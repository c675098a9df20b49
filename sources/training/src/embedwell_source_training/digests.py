"""The digest of a model's content, reading each version of a file once."""

import hashlib
from pathlib import Path

from embedwell_source_training.content import Content, File
from embedwell_source_training.whole import Signature, Unfinished

REMEMBERED = 10_000


class Digests:
    """Called in threads; for the same files it agrees with `Snapshot.of_folder`."""

    def __init__(self) -> None:
        self._known: dict[tuple[Path, Signature], bytes] = {}

    def of(self, content: Content) -> str | None:
        """None while a file is not read yet."""
        total = hashlib.sha256()
        for file in content.files:
            digest = self._known.get(_key(content, file))
            if digest is None:
                return None
            total.update(f"{file.name}\0".encode() + digest)
        return total.hexdigest()

    def unread(self, content: Content) -> tuple[File, ...]:
        """The files that are still to be read."""
        return tuple(file for file in content.files if _key(content, file) not in self._known)

    def read(self, content: Content, file: File) -> None:
        """Blocks; raises Unfinished for a file that is not, or no longer, what it was."""
        path = content.folder / file.name
        try:
            with path.open("rb") as opened:
                digest = hashlib.file_digest(opened, "sha256").digest()
            now = Signature.of(path.lstat())
        except FileNotFoundError:
            raise Unfinished(f"{file.name} is missing") from None
        if now != file.signature:
            raise Unfinished(f"{file.name} is being written")
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        self._known[_key(content, file)] = digest


def _key(content: Content, file: File) -> tuple[Path, Signature]:
    return content.folder / file.name, file.signature
