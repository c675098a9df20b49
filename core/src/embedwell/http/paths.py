"""A request's path, as sent, to checked segments."""

import re
from urllib.parse import unquote_to_bytes

from embedwell.errors import BadRequest, NotFound

ABSOLUTE = re.compile(rb"https?://[^/?#]*", re.IGNORECASE)
BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
# Controls (NUL among them), an escaped escape, and what decoding puts in place of broken UTF-8.
REFUSED = re.compile("[\x00-\x1f\x7f-\x9f%\ufffd]")


def segments(raw: bytes) -> list[str]:
    """The decoded parts between slashes, without one trailing slash.

    A part keeps the slashes that were sent as `%2F`: whether they are allowed depends on the
    route. Raises NotFound for an empty part, BadRequest for whatever no path may contain.
    """
    parts = ABSOLUTE.sub(b"", raw, count=1).split(b"/")
    if parts[0]:
        raise NotFound("Route not found: a path begins with /")
    parts = parts[1:-1] if len(parts) > 1 and not parts[-1] else parts[1:]
    return [_segment(part) for part in parts]


def _segment(raw: bytes) -> str:
    if BROKEN_ESCAPE.search(raw):
        raise BadRequest("The path has a % that no two hexadecimal digits follow")
    try:
        part = unquote_to_bytes(raw).decode()
    except UnicodeDecodeError:
        raise BadRequest("The path is not valid UTF-8") from None
    if REFUSED.search(part):
        raise BadRequest("The path has an encoded %, NUL or control character")
    _check_names(part.split("/"))
    return part


def _check_names(names: list[str]) -> None:
    if "" in names:
        raise NotFound("Route not found: the path has an empty segment")
    if "." in names or ".." in names:
        raise BadRequest("The path has a dot segment")
