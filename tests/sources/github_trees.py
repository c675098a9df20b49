"""What lies in a repository, and the tarball that GitHub makes of it."""

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct


class Link(Struct, frozen=True):
    """A symbolic link in a tree."""

    target: str


class Submodule(Struct, frozen=True):
    """Another repository's place in a tree: an empty folder in its tarball."""


Tree = Mapping[str, bytes | Link | Submodule]


def pointer(oid: str, size: int) -> bytes:
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {size}\n".encode()


def tarball(name: str, commit: str, tree: Tree) -> bytes:
    """As git makes it: a global header with the commit, and one folder around everything."""
    made = io.BytesIO()
    top = f"{name.replace('/', '-')}-{commit[:7]}"
    with tarfile.open(
        fileobj=made, mode="w:gz", format=tarfile.PAX_FORMAT, pax_headers={"comment": commit}
    ) as tar:
        tar.addfile(_folder(top))
        for path, content in tree.items():
            for parent in reversed(Path(path).parents[:-1]):
                tar.addfile(_folder(f"{top}/{parent}"))
            _add(tar, f"{top}/{path}", content)
    return made.getvalue()


def _add(tar: tarfile.TarFile, path: str, content: bytes | Link | Submodule) -> None:
    if isinstance(content, Submodule):
        tar.addfile(_folder(path))
        return
    info = tarfile.TarInfo(path)
    if isinstance(content, Link):
        info.type, info.linkname = tarfile.SYMTYPE, content.target
        tar.addfile(info)
        return
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


def _folder(path: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(path)
    info.type, info.mode = tarfile.DIRTYPE, 0o775
    return info
