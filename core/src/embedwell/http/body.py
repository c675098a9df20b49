"""Reads a request's body under its Route's limits: whole, or as a stream."""

import asyncio
from collections.abc import Callable

from msgspec import Struct

from embedwell.errors import BodyTimeout, PayloadTooLarge, UnsupportedMediaType
from embedwell.http.asgi import Scope, values
from embedwell.http.client import Client
from embedwell.http.envelope import shown


class Limit(Struct, frozen=True):
    """Bytes that a body may have; `setting` is what raises it, where one is known."""

    size: int
    setting: str = ""


def check_type(scope: Scope) -> None:
    """Raises UnsupportedMediaType for anything but plain JSON in UTF-8."""
    check_encoding(scope)
    given = b",".join(values(scope, b"content-type")).decode("latin-1")
    kind, *parameters = (part.strip().lower() for part in given.split(";"))
    if kind != "application/json":
        what = f"not {shown(kind)}" if kind else "and the request names none"
        raise UnsupportedMediaType(f"The Content-Type must be application/json, {what}")
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "charset" and value.strip(' "') not in ("utf-8", "utf8"):
            raise UnsupportedMediaType("The body must be UTF-8")


def check_encoding(scope: Scope) -> None:
    """Raises UnsupportedMediaType for a compressed body."""
    given = b",".join(values(scope, b"content-encoding")).decode("latin-1")
    if given.strip().lower() not in ("", "identity"):
        raise UnsupportedMediaType(f"The Content-Encoding {shown(given)} is not supported")


async def read(
    client: Client, limit: Limit, seconds: float, cover: Callable[[int], None] = lambda size: None
) -> bytes:
    """The whole body; within `seconds`. `cover` hears how many bytes are held so far.

    Raises PayloadTooLarge, BodyTimeout, and what `cover` does.
    """
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            while (chunk := await client.chunk()) is not None:
                body += chunk
                if len(body) > limit.size:
                    raise too_large(limit)
                cover(len(body))
    except TimeoutError:
        raise BodyTimeout(f"The body did not arrive within {seconds:g} seconds") from None
    return bytes(body)


class Stream:
    """The body as bytes that arrive; `timeout` seconds for each piece, `limit` for all of it."""

    def __init__(self, client: Client, limit: Limit, timeout: float) -> None:
        self._client, self._limit, self._timeout = client, limit, timeout
        self._seen = 0

    def __aiter__(self) -> "Stream":
        return self

    async def __anext__(self) -> bytes:
        try:
            async with asyncio.timeout(self._timeout):
                chunk = await self._client.chunk()
        except TimeoutError:
            raise BodyTimeout(f"Nothing arrived for {self._timeout:g} seconds") from None
        if chunk is None:
            raise StopAsyncIteration
        self._seen += len(chunk)
        if self._seen > self._limit.size:
            raise too_large(self._limit)
        return chunk


def too_large(limit: Limit) -> PayloadTooLarge:
    """The answer to a body of more bytes than its Route takes."""
    named = f" ({limit.setting})" if limit.setting else ""
    return PayloadTooLarge(f"The body is larger than {limit.size:,} bytes{named}")
