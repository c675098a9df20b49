"""Rows to the bytes of an answer, as float JSON or as base64."""

import asyncio
import base64
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import orjson

from embedwell.interfaces.embedding import Embeddings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from embedwell.interfaces.encoders import Rows

CHUNK = 32_768  # numbers written before the loop gets a turn, a few milliseconds
# The shortest decimal of a float32 between these comes back exactly though clients read it as a
# float64 first: below, each such float32 was tried down to 2 ** -40 (from 1e-4 on it follows from
# nine digits being too few to come so near to a midpoint); above, a float64 holds the integers.
LEAST, MOST = 1e-12, 9e15

encode_json = msgspec.json.Encoder().encode


async def write(result: Embeddings, model: str, base64_wanted: bool) -> bytes:
    """The whole answer; leaves the loop a turn between chunks, for large ones take a while."""
    parts = [b'{"object":"list","data":[']
    texts = _base64 if base64_wanted else floats
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


def floats(rows: "Rows") -> Iterator[bytes]:
    """Each row as a JSON array from which every float32 comes back exactly."""
    for row in rows:
        yield orjson.dumps(_exact(row), option=orjson.OPT_SERIALIZE_NUMPY)


def _exact(row: "Rows") -> "NDArray[np.float32] | NDArray[np.float64]":
    """The row as it is to be written: a float64's decimal is longer, and exact for any float32."""
    size = np.abs(row)
    odd = row[(size >= MOST) | ((size < LEAST) & (size > 0))]  # a model may have a dead component
    if odd.size and not _come_back(odd):
        return row.astype(np.float64)
    return np.ascontiguousarray(row)


def _come_back(values: "Rows") -> bool:
    read = orjson.loads(orjson.dumps(values, option=orjson.OPT_SERIALIZE_NUMPY))
    return bool((np.array(read, np.float64).astype(np.float32) == values).all())
