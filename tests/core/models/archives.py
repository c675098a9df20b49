"""Archives made on the spot, good and bad."""

import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from embedwell.errors import InvalidModel
from embedwell.models.archive import unpack

KINDS = ("zip", "tar", "tar.gz")
FILES = {"config.json": b"{}", "model.safetensors": b"weights", "1_Pooling/config.json": b"[]"}


def pack(path: Path, kind: str, files: Mapping[str, bytes], level: int = 6) -> Path:
    """An archive of these files; names that end with '/' are folders."""
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=level) as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        return path
    with _tar(path, kind, level) as tar:
        for name, data in files.items():
            add(tar, name, data)
    return path


def _tar(path: Path, kind: str, level: int) -> tarfile.TarFile:
    if kind == "tar":
        return tarfile.open(path, "w")
    return tarfile.open(path, "w:gz", compresslevel=level)


def add(tar: tarfile.TarFile, name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE) -> None:
    info = tarfile.TarInfo(name)
    info.type = tarfile.DIRTYPE if name.endswith("/") else kind
    info.size = len(data)
    info.linkname = "/etc/passwd" if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else ""
    tar.addfile(info, io.BytesIO(data))


def pack_folder(path: Path, kind: str, folder: Path, top: str = "") -> Path:
    """A folder as people pack one, with entries for the folders in it; quickly."""
    files = {top: b""} if top else {}
    for item in sorted(folder.rglob("*")):
        name = top + item.relative_to(folder).as_posix()
        files[name + "/" if item.is_dir() else name] = b"" if item.is_dir() else item.read_bytes()
    return pack(path, kind, files, level=0)


def outcome(archive: Path, target: Path, within: str = "") -> str:
    """Why it is refused; "" where it is not."""
    try:
        unpack(archive, target, within=within)
    except InvalidModel as refused:
        return refused.message
    return ""


def tree(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    return {
        item.relative_to(folder).as_posix(): item.read_bytes()
        for item in folder.rglob("*")
        if not item.is_dir()
    }
