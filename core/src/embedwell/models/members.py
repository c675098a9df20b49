"""What an archive is to the extractor: members one after another, and limits on all of it."""

import errno
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from tarfile import TarError
from typing import TypeVar
from zipfile import BadZipFile

from msgspec import Struct

from embedwell.errors import InvalidModel
from embedwell.models.names import MAX_FILES

T = TypeVar("T")
CHUNK = 1 << 20
SHOWN = 100


class Limits(Struct, frozen=True):
    """Bytes are those that come out; `ratio` to those that went in counts beyond `expansion`."""

    entries: int = 100_000  # looked at
    files: int = MAX_FILES  # kept
    bytes: int = 100_000_000_000
    ratio: int = 200
    expansion: int = 10_000_000


class Member(Struct, frozen=True):
    """A file or a folder of an archive, or what is `refused`, and why, where it is wanted.

    `chunks` gives a file's content, 1 MiB at most at a time, before the next member is asked for.
    """

    name: str
    chunks: Callable[[], Iterator[bytes]]
    folder: bool = False
    refused: str = ""


def shown(name: str) -> str:
    """A name that may hold anything, for a message."""
    text = ascii(name[:SHOWN])[1:-1]
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


def expands_too_much(limits: Limits) -> InvalidModel:
    return InvalidModel(f"The archive expands more than {limits.ratio} times: it is not unpacked")


def damaged() -> InvalidModel:
    return InvalidModel("The archive is damaged or cut short; pack and send it again")


@contextmanager
def _reading() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (None, errno.EINVAL):  # gzip's own; a place that is none
            raise
        raise damaged() from error
    except (BadZipFile, TarError, zlib.error, EOFError, struct.error, ValueError) as error:
        raise damaged() from error
    except (NotImplementedError, RuntimeError, OverflowError) as error:  # zipfile's ways to refuse
        raise damaged() from error


def read(items: Iterator[T]) -> Iterator[T]:
    """The items; what goes wrong in producing them is the archive's fault: InvalidModel."""
    while True:
        with _reading():
            try:
                item = next(items)
            except StopIteration:
                return
        yield item
