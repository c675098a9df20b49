"""The members of a zip, from its directory; refuses before parsing what would be too much."""

import io
import os
import stat
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from embedwell.errors import InvalidModel
from embedwell.models.members import CHUNK, Limits, Member, expands_too_much

MAX_DIRECTORY = 20_000_000
STARTS = (b"PK\x03\x04", b"PK\x05\x06")
_ENTRY = b"PK\x01\x02"
_LOCAL_HEADER = 30
_ENCRYPTED = 0x1 | 0x40 | 0x2000


class _Guarded(io.FileIO):
    """What zipfile reads from: it takes the whole directory into memory at once."""

    def __init__(self, path: Path, limits: Limits) -> None:
        super().__init__(path, "rb")
        self._limits = limits

    def read(self, size: int | None = -1) -> bytes:
        left = os.fstat(self.fileno()).st_size - self.tell()
        wanted = left if size is None or size < 0 else min(size, left)
        if wanted > MAX_DIRECTORY:
            raise InvalidModel(f"The zip's directory is larger than {MAX_DIRECTORY:,} bytes")
        data = super().read(max(wanted, 0))
        if data.count(_ENTRY) > self._limits.entries:
            raise InvalidModel(f"The archive has more than {self._limits.entries:,} entries")
        return data


def members(path: Path, limits: Limits) -> Iterator[Member]:
    """Raises InvalidModel, and what zipfile raises for a damaged one."""
    with _Guarded(path, limits) as file, ZipFile(file) as archive:
        infos = archive.infolist()
        _refuse_overlaps(infos)
        expansion = _Expansion(limits)
        for info in infos:
            yield _member(archive, info, expansion)


def _refuse_overlaps(infos: list[ZipInfo]) -> None:
    spans = sorted((info.header_offset, _least_end(info)) for info in infos)
    if any(end > start for (_, end), (start, _) in pairwise(spans)):
        raise BadZipFile("Overlapped entries")


def _least_end(info: ZipInfo) -> int:
    return info.header_offset + _LOCAL_HEADER + len(info.orig_filename) + info.compress_size


class _Expansion:
    """What entries say that they unpack to, one by one and together: zipfile gives no more."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._packed = self._unpacked = 0

    def add(self, info: ZipInfo) -> None:
        self._packed += info.compress_size
        self._unpacked += info.file_size
        self._check(info.compress_size, info.file_size)
        self._check(self._packed, self._unpacked)

    def _check(self, packed: int, unpacked: int) -> None:
        if unpacked > max(self._limits.expansion, self._limits.ratio * packed):
            raise expands_too_much(self._limits)


def _member(archive: ZipFile, info: ZipInfo, expansion: _Expansion) -> Member:
    def chunks() -> Iterator[bytes]:
        expansion.add(info)
        with archive.open(info) as file:
            while data := file.read(CHUNK):
                yield data

    name = info.orig_filename  # filename ends at a NUL
    return Member(name, chunks, folder=name.endswith("/"), refused=_refused(info))


def _refused(info: ZipInfo) -> str:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind == stat.S_IFLNK:
        return "a link"
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "neither a file nor a folder"
    if info.flag_bits & _ENCRYPTED:
        return "encrypted"
    if info.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
        return "compressed in a way that is not read here (use deflate)"
    return ""
