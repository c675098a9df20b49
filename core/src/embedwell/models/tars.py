"""The members of a tar, in its order, from a stream of which nothing is kept in memory.

The format is POSIX.1-2017's pax with GNU's long names. tarfile reads single headers here, but
not the archive: it takes extended headers of any size into memory, and remembers every member.
"""

import tarfile
from collections.abc import Iterator
from typing import BinaryIO, Protocol

from msgspec import Struct

from embedwell.errors import InvalidModel
from embedwell.models.members import CHUNK, Limits, Member, expands_too_much, shown

MAX_EXTENDED = 65_536
_BLOCK = tarfile.BLOCKSIZE
_PAX = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE)
_SKIPPED = (tarfile.XGLTYPE, tarfile.GNUTYPE_LONGLINK)
_FILES = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
_KINDS = {tarfile.SYMTYPE: "a link", tarfile.LNKTYPE: "a link"}


class Readable(Protocol):
    """gzip's file or a plain one."""

    def read(self, size: int, /) -> bytes: ...


class Stream:
    """Bytes in order, never more than asked for; `raw` is what they are unpacked from."""

    def __init__(self, source: Readable, raw: BinaryIO, limits: Limits) -> None:
        self._source, self._raw, self._limits = source, raw, limits
        self._count = 0

    def take(self, size: int) -> bytes:
        """Exactly so many bytes; raises EOFError, InvalidModel for a bomb."""
        data = self._source.read(size)
        self._count += len(data)
        if len(data) < size:
            raise EOFError
        if self._count > max(self._limits.expansion, self._limits.ratio * self._raw.tell()):
            raise expands_too_much(self._limits)
        return data

    def skip(self, size: int) -> None:
        if self._source is self._raw:
            self._raw.seek(size, 1)
            self._count += size
            return
        while size:
            size -= len(self.take(min(size, CHUNK)))

    def finish(self) -> None:
        """Read what fills up the last record, with it gzip's checksum."""
        if len(self._source.read(CHUNK)) == CHUNK:
            raise tarfile.TarError("more follows the end")


class _Extended(Struct):
    """What extended headers say of the member that follows them."""

    name: str | None = None
    size: int | None = None
    sparse: bool = False


def starts(block: bytes) -> bool:
    """Whether an archive may begin so."""
    try:
        tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.TarError:
        return False
    return True


def members(stream: Stream, limits: Limits) -> Iterator[Member]:
    """Raises InvalidModel, and TarError, EOFError, ValueError for a damaged one."""
    extended = _Extended()
    for looked, header in enumerate(_headers(stream)):
        if looked >= limits.entries:
            raise InvalidModel(f"The archive has more than {limits.entries:,} entries")
        if header.type in (*_PAX, *_SKIPPED, tarfile.GNUTYPE_LONGNAME):
            _extend(extended, header, _extension(stream, header.size))
            continue
        yield from _member(stream, header, extended)
        extended = _Extended()
    stream.finish()


def _headers(stream: Stream) -> Iterator[tarfile.TarInfo]:
    while any(block := stream.take(_BLOCK)):
        header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        if header.size < 0:
            raise tarfile.TarError("negative size")
        yield header


def _extension(stream: Stream, size: int) -> bytes:
    if size > MAX_EXTENDED:
        raise InvalidModel(f"The archive has a header of more than {MAX_EXTENDED:,} bytes")
    return stream.take(size + _padding(size))[:size]


def _padding(size: int) -> int:
    return -size % _BLOCK


def _extend(extended: _Extended, header: tarfile.TarInfo, data: bytes) -> None:
    if header.type == tarfile.GNUTYPE_LONGNAME:
        extended.name = _text(data.partition(b"\0")[0])
    elif header.type in _PAX:
        for key, value in _records(data):
            if key == b"path":
                extended.name = _text(value)
            elif key == b"size":
                extended.size = _number(value)
            elif key.startswith(b"GNU.sparse"):
                extended.sparse = True


def _records(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """`"%d %s=%s\\n"` each, the number being its own length."""
    while data.strip(b"\0"):
        digits = data[:10].partition(b" ")[0]
        record, data = data[: _number(digits)], data[_number(digits) :]
        key, equals, value = record[len(digits) + 1 : -1].partition(b"=")
        if not equals or not record.endswith(b"\n"):
            raise tarfile.TarError("bad pax record")
        yield key, value


def _number(digits: bytes) -> int:
    if not digits.isdigit() or len(digits) > 20:
        raise tarfile.TarError("bad number")
    return int(digits)


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _member(stream: Stream, header: tarfile.TarInfo, extended: _Extended) -> Iterator[Member]:
    name = header.name if extended.name is None else extended.name
    if extended.sparse or header.type == tarfile.GNUTYPE_SPARSE:
        raise InvalidModel(f"{shown(name)} is a sparse file: pack the model without --sparse")
    known = header.type in (*_FILES, tarfile.DIRTYPE)
    holds_data = header.type in _FILES or header.type not in tarfile.SUPPORTED_TYPES
    size = header.size if extended.size is None else extended.size
    left = size if holds_data else 0
    padding = _padding(left)

    def chunks() -> Iterator[bytes]:
        nonlocal left
        while left:
            data = stream.take(min(left, CHUNK))
            left -= len(data)
            yield data

    refused = "" if known else _KINDS.get(header.type, "neither a file nor a folder")
    yield Member(name, chunks, folder=header.type == tarfile.DIRTYPE, refused=refused)
    stream.skip(left + padding)
