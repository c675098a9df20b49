"""What an answer must be: JSON, a vector per text, in order, finite, of unit length."""

import base64
import math
import re
from array import array
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from embedwell.bench.errors import printable

USAGE = re.compile(rb'"prompt_tokens"\s*:\s*(\d{1,12})')


class Item(Struct):
    """One row of `data`: floats, or base64 of little-endian float32."""

    index: int
    embedding: list[float] | str


class Embeddings(Struct):
    """The part of an answer that is checked."""

    data: list[Item]


class WrongAnswer(Exception):
    """Says what is wrong with it."""


class Facts(Struct, frozen=True):
    """What one answer shows of a server; `encoding` is "float" or "base64"."""

    dimensions: int
    encoding: str


def check(body: bytes, texts: int, dimensions: int | None = None) -> Facts:
    """What a right answer shows; raises WrongAnswer. `dimensions` None takes any."""
    items = _items(body)
    if [item.index for item in items] != list(range(texts)):
        raise WrongAnswer(f"{len(items)} rows for {texts} texts, or not in their order")
    for item in items:
        dimensions = _check(vector(item.embedding), dimensions)
    return Facts(dimensions or 0, "base64" if isinstance(items[0].embedding, str) else "float")


def vector(embedding: list[float] | str) -> Sequence[float]:
    """The numbers of one row, `[dimensions]`; raises WrongAnswer for base64 that is none."""
    if not isinstance(embedding, str):
        return embedding
    row = array("f")
    try:
        row.frombytes(base64.b64decode(embedding, validate=True))
    except ValueError:
        raise WrongAnswer("base64 that is no float32") from None
    return row


def tokens(body: bytes) -> int:
    """`usage.prompt_tokens`, without decoding the vectors beside it; 0 where there is none."""
    at = body.rfind(b'"prompt_tokens"')
    found = USAGE.match(body, at) if at >= 0 else None
    return int(found[1]) if found else 0


def reason(body: bytes) -> str:
    """What a refusal says: its message, else its first characters; "" of a page for people."""
    if body.lstrip().startswith(b"<"):
        return ""
    try:
        told = msgspec.json.decode(body)
    except msgspec.DecodeError:
        told = None
    if isinstance(told, dict):
        error = told.get("error", told)
        message = error.get("message") if isinstance(error, dict) else error
        told = message or told.get("detail")
    return printable(told if isinstance(told, str) else body[:200].decode("utf-8", "replace"))


def _items(body: bytes) -> list[Item]:
    try:
        return msgspec.json.decode(body, type=Embeddings).data
    except (msgspec.DecodeError, RecursionError):
        raise WrongAnswer("not the JSON of embeddings") from None


def _check(row: Sequence[float], dimensions: int | None) -> int:
    if not row or dimensions not in (None, len(row)):
        raise WrongAnswer(f"a vector of {len(row)} dimensions")
    length = math.hypot(*row)
    if not math.isfinite(length):
        raise WrongAnswer("a vector that is not finite")
    if not length:
        raise WrongAnswer("a vector of zeros")
    return len(row)
