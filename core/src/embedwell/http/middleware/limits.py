"""Size of URL and headers, and framing that two readers could read differently."""

from embedwell.errors import BadRequest, HeadersTooLarge, UrlTooLong
from embedwell.http.asgi import App, Receive, Scope, Send, target, values

MAX_URL = 8 * 1024
MAX_HEADERS = 32 * 1024
MAX_FIELDS = 200
MAX_DIGITS = 18


class ConflictingFraming(BadRequest):
    kind = "conflicting_framing"


class Limits:
    """Refuses by the head of a request alone."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send, then: App) -> None:
        _check_url(scope)
        _check_headers(scope)
        _check_framing(scope)
        await then(scope, receive, send)


def _check_url(scope: Scope) -> None:
    if len(target(scope)) + len(scope["query_string"]) > MAX_URL:
        raise UrlTooLong(f"The URL is longer than {MAX_URL:,} bytes")


def _check_headers(scope: Scope) -> None:
    if len(scope["headers"]) > MAX_FIELDS:
        raise HeadersTooLarge(f"The request has more than {MAX_FIELDS} headers")
    if sum(len(name) + len(value) for name, value in scope["headers"]) > MAX_HEADERS:
        raise HeadersTooLarge(f"The headers are larger than {MAX_HEADERS:,} bytes together")


def _check_framing(scope: Scope) -> None:
    lengths = set(values(scope, b"content-length"))
    if lengths and values(scope, b"transfer-encoding"):
        raise ConflictingFraming("Content-Length and Transfer-Encoding exclude each other")
    if len(lengths) > 1:
        raise ConflictingFraming("The request has more than one Content-Length")
    for length in lengths:
        if not length.isdigit() or len(length) > MAX_DIGITS:
            raise ConflictingFraming("The Content-Length is not a number of bytes")
