"""What parent and worker say to each other over two pipes: a length, then msgpack."""

import struct
from collections.abc import Sequence
from typing import BinaryIO

import msgspec
from msgspec import Struct

HEAD = struct.Struct("<Q")


class Round(Struct, frozen=True, tag=True):
    """All texts in one call, `alone` each in a call of its own; `rows` asks for the vectors."""

    texts: Sequence[str]
    alone: bool = False
    rows: bool = False


class Ready(Struct, frozen=True, tag=True):
    """The engine is loaded; `versions` are of what it computes with."""

    versions: dict[str, str]


class Done(Struct, frozen=True, tag=True):
    """Seconds of each call; rows as little-endian float32; bytes resident now and at the most."""

    seconds: Sequence[float]
    rows: bytes
    dimensions: int
    resident: int
    peak: int


class Failed(Struct, frozen=True, tag=True):
    """Why there is no answer."""

    reason: str


Answer = Ready | Done | Failed
REQUESTS = msgspec.msgpack.Decoder(Round)
ANSWERS: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)


def send(pipe: BinaryIO, message: Round | Answer) -> None:
    """Raises OSError where nobody reads any more."""
    body = msgspec.msgpack.encode(message)
    pipe.write(HEAD.pack(len(body)) + body)
    pipe.flush()


def receive(pipe: BinaryIO) -> bytes | None:
    """The next message, still encoded; None where the other side has ended."""
    head = pipe.read(HEAD.size)
    if len(head) < HEAD.size:
        return None
    (length,) = HEAD.unpack(head)
    body = pipe.read(length)
    return body if len(body) == length else None
