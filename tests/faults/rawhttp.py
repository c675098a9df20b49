"""Bytes to a server, and every answer that comes back: no client that would mend either."""

import json
import re
import select
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from msgspec import Struct

PATIENCE = 60.0  # seconds until a server hangs
CLOSE = (("Connection", "close"),)
JSON = (("Content-Type", "application/json"),)
BODILESS = {204, 304}
Headers = Iterable[tuple[str, str]]


class BrokenOff(AssertionError):
    """An answer of which the end is missing."""


class Answer(Struct, frozen=True):
    """One response; header names are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """Strictly: no NaN, no Infinity."""

        def refuse(constant: str) -> None:
            raise AssertionError(f"{constant} is no JSON")

        return json.loads(self.body.decode(), parse_constant=refuse)


def head(method: str, path: str, headers: Headers) -> bytes:
    """A request up to its body, `Host` included."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost"]
    lines += [f"{name}: {value}" for name, value in headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def ask(
    port: int, method: str, path: str, body: bytes | None = None, headers: Headers = ()
) -> Answer:
    """One request on a connection of its own, its length declared; the one answer to it."""
    length = () if body is None else (("Content-Length", str(len(body))),)
    request = head(method, path, (*headers, *length, *CLOSE)) + (body or b"")
    (answer,) = exchange(port, [request], without_body=method == "HEAD")
    return answer


def post(port: int, path: str, content: Any, *headers: tuple[str, str]) -> Answer:
    """JSON, or bytes that may be none."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return ask(port, "POST", path, body, (*JSON, *headers))


def exchange(port: int, pieces: Iterable[bytes], *, without_body: bool = False) -> list[Answer]:
    """Sends the pieces, reading meanwhile, until the server ends the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        return list(parse(_until_closed(connection, iter(pieces)), without_body))


def _until_closed(connection: socket.socket, pieces: Iterator[bytes]) -> bytes:
    deadline = time.monotonic() + PATIENCE
    received, unsent = bytearray(), memoryview(next(pieces, b""))
    while True:
        writing = [connection] if unsent else []
        ready, may_write, _ = select.select(
            [connection], writing, [], max(0.0, deadline - time.monotonic())
        )
        if not ready and not may_write:
            raise AssertionError(f"neither answered nor closed: {bytes(received[:200])!r}")
        try:
            if ready:
                chunk = connection.recv(1 << 16)
                if not chunk:
                    return bytes(received)
                received += chunk
            elif may_write:
                unsent = unsent[connection.send(unsent[: 1 << 18]) :] or memoryview(next(pieces, b""))
        except (BrokenPipeError, ConnectionResetError):
            if not ready:  # it takes no more: read what it said
                unsent = memoryview(b"")
                continue
            return bytes(received)


def parse(received: bytes, without_body: bool = False) -> Iterator[Answer]:
    """The responses one after the other; raises AssertionError for what is none."""
    while received:
        start, found, rest = received.partition(b"\r\n\r\n")
        if not found:
            raise BrokenOff(f"half an answer: {received[:200]!r}")
        first, *lines = start.decode("latin-1").split("\r\n")
        match = re.fullmatch(r"HTTP/1\.1 (\d{3}) ?.*", first)
        assert match, f"no answer: {first!r}"
        status, received = int(match[1]), rest
        if status < 200:
            continue
        headers = {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in lines)}
        bodiless = without_body or status in BODILESS
        length = 0 if bodiless else int(headers["content-length"])
        if len(received) < length:
            raise BrokenOff(f"an answer broke off: {received[:200]!r}")
        yield Answer(status, headers, received[:length])
        received = received[length:]
