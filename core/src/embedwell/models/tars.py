"""The members of a tar, in its order, from a stream of which nothing is kept in memory.

The formats are POSIX.1-2017's ustar and pax, and GNU's long names and large numbers. Not read by
tarfile: it takes extended headers of any size into memory, and remembers every member.
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


class _Header(Struct, frozen=True):
    """What a member's own block says."""

    name: str
    size: int
    type: bytes


class _Extended(Struct):
    """What extended headers say of the member that follows them."""

    name: str | None = None
    size: int | None = None
    sparse: bool = False


def starts(block: bytes) -> bool:
    """Whether an archive may begin so."""
    try:
        _header(block)
    except (tarfile.TarError, ValueError):
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


def _headers(stream: Stream) -> Iterator[_Header]:
    while any(block := stream.take(_BLOCK)):
        yield _header(block)


def _header(block: bytes) -> _Header:
    if len(block) < _BLOCK or _octal(block[148:156]) != _checksum(block):
        raise tarfile.TarError("bad checksum")
    name, type_ = _until_nul(block[:100]), block[156:157]
    if type_ == tarfile.AREGTYPE and name.endswith(b"/"):
        type_ = tarfile.DIRTYPE
    prefix = _until_nul(block[345:500]) if block[257:263] == tarfile.POSIX_MAGIC[:6] else b""
    whole = prefix + b"/" + name if prefix else name
    return _Header(_text(whole), _octal(block[124:136]), type_)


def _checksum(block: bytes) -> int:
    return sum(block[:148]) + sum(block[156:]) + 8 * ord(" ")


def _octal(field: bytes) -> int:
    """Octal digits, or GNU's form of numbers that do not fit: a bit set, then bytes."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    digits = _until_nul(field).strip() or b"0"
    if not digits.isdigit():
        raise tarfile.TarError("bad number")
    return int(digits, 8)


def _until_nul(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _extension(stream: Stream, size: int) -> bytes:
    if size > MAX_EXTENDED:
        raise InvalidModel(f"The archive has a header of more than {MAX_EXTENDED:,} bytes")
    return stream.take(size + _padding(size))[:size]


def _padding(size: int) -> int:
    return -size % _BLOCK


def _extend(extended: _Extended, header: _Header, data: bytes) -> None:
    if header.type == tarfile.GNUTYPE_LONGNAME:
        extended.name = _text(_until_nul(data))
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


def _member(stream: Stream, header: _Header, extended: _Extended) -> Iterator[Member]:
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
