"""Names for ASGI's dicts, and what the layers read from them."""

from collections.abc import Awaitable, Callable, Container, Iterable
from typing import Any

Scope = dict[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

CROWDED = "embedwell.crowded"  # in the state of a connection beyond those that there is room for


def values(scope: Scope, name: bytes) -> list[bytes]:
    """Every value of a header, in order; `name` is lower-case, as a server gives them."""
    return [value.strip() for key, value in scope["headers"] if key == name]


def is_crowded(state: Container[str]) -> bool:
    """Whether a connection of this state is one too many, where only probes are answered."""
    return CROWDED in state


def header_map(pairs: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Headers by name; a repeated one is joined with commas, as RFC 9110 allows."""
    found: dict[bytes, bytes] = {}
    for name, value in pairs:
        found[name] = found[name] + b", " + value if name in found else value
    return found


def target(scope: Scope) -> bytes:
    """The path as it was sent, still percent-encoded."""
    raw = scope.get("raw_path")
    return raw if isinstance(raw, bytes) else _encoded(scope["path"])


def _encoded(path: str) -> bytes:
    return b"".join(
        bytes([byte]) if 0x21 <= byte < 0x7F and byte != 0x25 else b"%%%02X" % byte
        for byte in path.encode("utf-8", "surrogateescape")
    )


def has_body(scope: Scope) -> bool:
    """Whether the client announced a body: a length other than 0, chunks, or an HTTP/2 stream."""
    lengths = values(scope, b"content-length")
    if lengths:
        return any(length.strip(b"0") for length in lengths)
    return bool(values(scope, b"transfer-encoding")) or not is_http1(scope)


def is_http1(scope: Scope) -> bool:
    """Whether headers say where a message ends, whatever version the request line claims."""
    return scope.get("http_version", "1.1") not in ("2", "3")
