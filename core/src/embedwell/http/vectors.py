"""Rows to the bytes of an answer, as float JSON or as base64."""

import asyncio
import base64
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from embedwell.interfaces.embedding import Embeddings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from embedwell.interfaces.encoders import Rows

CHUNK = 32_768  # numbers written before the loop gets a turn, a few milliseconds
DIGITS = 9  # what tells any two float32 apart
# Up to 10 ** 22 a float64 holds a power of ten exactly, and one division rounds once.
POWERS = np.array([10.0**exponent for exponent in range(23)])

encode_json = msgspec.json.Encoder().encode


async def write(result: Embeddings, model: str, base64_wanted: bool) -> bytes:
    """The whole answer; leaves the loop a turn between chunks, for large ones take a while."""
    parts = [b'{"object":"list","data":[']
    texts = _base64 if base64_wanted else _floats
    step = max(1, CHUNK // max(1, result.rows.shape[1]))
    for start in range(0, len(result.rows), step):
        if start:
            await asyncio.sleep(0)
        parts += _items(result.rows[start : start + step], start, texts)
    parts.append(_end(model, result.tokens))
    return b"".join(parts)


def _items(rows: "Rows", start: int, texts: "Callable[[Rows], Iterator[bytes]]") -> Iterator[bytes]:
    for index, text in enumerate(texts(rows), start):
        comma = b"," if index else b""
        yield b'%s{"object":"embedding","index":%d,"embedding":%s}' % (comma, index, text)


def _end(model: str, tokens: int) -> bytes:
    usage = b'{"prompt_tokens":%d,"total_tokens":%d}' % (tokens, tokens)
    return b'],"model":%s,"usage":%s}' % (encode_json(model), usage)


def _base64(rows: "Rows") -> Iterator[bytes]:
    for row in rows:
        yield b'"%s"' % base64.b64encode(row.astype("<f4", copy=False).tobytes())


def _floats(rows: "Rows") -> Iterator[bytes]:
    for row in short(rows).tolist():
        yield encode_json(row)


def short(rows: "Rows") -> "NDArray[np.float64]":
    """The same float32 values as float64 that print with at most nine significant digits.

    A float64 is written with the fewest digits that name it, for a widened float32 often 17;
    the nearest nine-digit decimal names the same float32 in half the bytes.
    """
    wide = rows.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        power = DIGITS - 1 - np.floor(np.log10(np.abs(wide)))
        scale = POWERS[np.clip(power, 0, len(POWERS) - 1).astype(np.intp)]
        decimal = np.rint(wide * scale) / scale
        same = decimal.astype(np.float32) == rows
    return np.where(same, decimal, wide)
