"""Archives made on the spot, good and bad."""

import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

KINDS = ("zip", "tar", "tar.gz")
FILES = {"config.json": b"{}", "model.safetensors": b"weights", "1_Pooling/config.json": b"[]"}


def pack(path: Path, kind: str, files: Mapping[str, bytes]) -> Path:
    """An archive of these files; names that end with '/' are folders."""
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        return path
    with tarfile.open(path, "w:gz" if kind == "tar.gz" else "w") as tar:
        for name, data in files.items():
            add(tar, name, data)
    return path


def add(tar: tarfile.TarFile, name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE) -> None:
    info = tarfile.TarInfo(name.rstrip("/") if name.endswith("/") else name)
    info.type = tarfile.DIRTYPE if name.endswith("/") else kind
    info.size = len(data)
    info.linkname = "/etc/passwd" if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else ""
    tar.addfile(info, io.BytesIO(data))


def pack_folder(path: Path, kind: str, folder: Path, top: str = "") -> Path:
    """A folder as people pack one, with entries for the folders in it."""
    files = {top: b""} if top else {}
    for item in sorted(folder.rglob("*")):
        name = top + item.relative_to(folder).as_posix()
        files[name + "/" if item.is_dir() else name] = b"" if item.is_dir() else item.read_bytes()
    return pack(path, kind, files)


def tree(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    return {
        item.relative_to(folder).as_posix(): item.read_bytes()
        for item in folder.rglob("*")
        if not item.is_dir()
    }
