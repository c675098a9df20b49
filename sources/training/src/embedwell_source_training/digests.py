"""The digest of a model's content, reading each version of a file once."""

import hashlib
from pathlib import Path

from embedwell import content_digest
from embedwell_source_training.content import Content, File
from embedwell_source_training.whole import Signature, Unfinished

REMEMBERED = 10_000


class Digests:
    """Called in threads; for the same files it agrees with `Snapshot.of_folder`."""

    def __init__(self) -> None:
        self._known: dict[tuple[Path, Signature], str] = {}

    def of(self, content: Content) -> str | None:
        """None while a file is not read yet."""
        found = {file.name: self._known.get(_key(content, file)) for file in content.files}
        known = {name: digest for name, digest in found.items() if digest is not None}
        return content_digest(known) if len(known) == len(found) else None

    def unread(self, content: Content) -> tuple[File, ...]:
        """The files that are still to be read."""
        return tuple(file for file in content.files if _key(content, file) not in self._known)

    def read(self, content: Content, file: File) -> None:
        """Blocks; raises Unfinished for a file that is not, or no longer, what it was."""
        path = content.folder / file.name
        try:
            with path.open("rb") as opened:
                digest = hashlib.file_digest(opened, "sha256").hexdigest()
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
