"""Errors as clients see them: status, headers and body by one table."""

import math
from collections.abc import Mapping

import msgspec
from msgspec import Struct

from embedwell.errors import EmbedwellError, MethodNotAllowed
from embedwell.interfaces.routes import Reply

MAX_ECHO = 200
MAX_MESSAGE = 2000

BAD_INPUT = "invalid_request_error"
SERVER = "server_error"


class Row(Struct, frozen=True):
    """How one error is answered: status, status under /v1, OpenAI's type, seconds to wait."""

    status: int
    v1: int
    type: str
    wait: float | None = None


# By kind where one code has several statuses, else by code.
TABLE: Mapping[str, Row] = {
    "BAD_REQUEST": Row(400, 400, BAD_INPUT),
    "VALIDATION_ERROR": Row(422, 400, BAD_INPUT),
    "UNAUTHORIZED": Row(401, 401, "authentication_error"),
    "FORBIDDEN": Row(403, 403, "permission_error"),
    "NOT_FOUND": Row(404, 404, BAD_INPUT),
    "METHOD_NOT_ALLOWED": Row(405, 405, BAD_INPUT),
    "request_timeout": Row(408, 408, BAD_INPUT),
    "TIMEOUT": Row(504, 504, SERVER),
    "CONFLICT": Row(409, 409, BAD_INPUT),
    "PAYLOAD_TOO_LARGE": Row(413, 413, BAD_INPUT),
    "url_too_long": Row(414, 414, BAD_INPUT),
    "headers_too_large": Row(431, 431, BAD_INPUT),
    "UNSUPPORTED_MEDIA_TYPE": Row(415, 415, BAD_INPUT),
    "INVALID_MODEL": Row(422, 400, BAD_INPUT),
    "MODEL_ERROR": Row(500, 500, SERVER),
    "OVERLOADED": Row(429, 429, "rate_limit_error", wait=1),
    "RATE_LIMITED": Row(429, 429, "rate_limit_error", wait=1),
    "MEMORY_ERROR": Row(503, 503, SERVER),
    "LOADING": Row(503, 503, SERVER, wait=5),
    "DRAINING": Row(503, 503, SERVER, wait=5),
    "SOURCE_ERROR": Row(502, 502, SERVER),
    "INSUFFICIENT_STORAGE": Row(507, 507, SERVER),
    "INTERNAL": Row(500, 500, SERVER),
}
KINDS_OF_CODE = {
    "TIMEOUT": ("request_timeout", "TIMEOUT"),
    "PAYLOAD_TOO_LARGE": ("PAYLOAD_TOO_LARGE", "url_too_long", "headers_too_large"),
}
RETRIED_BY_CLIENTS = {408, 409, 429}


class OpenAIError(Struct, frozen=True):
    """The error as OpenAI's clients read it."""

    message: str
    type: str
    param: str | None
    code: str


class ErrorBody(Struct, frozen=True):
    """The one body of every error."""

    detail: str
    code: str
    error: OpenAIError


def is_bug(error: BaseException) -> bool:
    """Whether this is nothing a client could have been told: it is logged instead."""
    return not isinstance(error, EmbedwellError) or row_of(error) is TABLE["INTERNAL"]


def row_of(error: EmbedwellError) -> Row:
    return TABLE.get(error.kind) or TABLE.get(error.code) or TABLE["INTERNAL"]


def statuses(code: str, v1: bool) -> set[int]:
    """Every status that an error code can have on a route."""
    rows = [TABLE[key] for key in KINDS_OF_CODE.get(code, (code,))]
    return {row.v1 if v1 else row.status for row in rows}


def reply(error: BaseException, request_id: str, v1: bool) -> Reply:
    """The answer to anything that was raised; a bug is told by the request's id alone."""
    if not isinstance(error, EmbedwellError) or is_bug(error):
        error = EmbedwellError(
            f"Internal error; the server's log has more under request id {request_id}"
        )
    row = row_of(error)
    return Reply(
        status=row.v1 if v1 else row.status,
        body=msgspec.json.encode(body_of(error)),
        headers=_headers(error, row),
    )


def body_of(error: EmbedwellError) -> ErrorBody:
    """What its client reads of it."""
    row = row_of(error)
    message = shown(error.message, MAX_MESSAGE)
    code = error.code if row is not TABLE["INTERNAL"] else "INTERNAL"
    param = None if error.param is None else shown(error.param)
    return ErrorBody(message, code, OpenAIError(message, row.type, param, error.kind))


def _headers(error: EmbedwellError, row: Row) -> dict[str, str]:
    headers = {}
    wait = row.wait if error.retry_after is None else error.retry_after
    if wait is not None and math.isfinite(wait):
        headers["retry-after"] = str(max(1, math.ceil(wait)))
        headers["retry-after-ms"] = str(max(1, math.ceil(wait * 1000)))
    elif _clients_would_retry(row) and not error.retryable and error.code != "INTERNAL":
        headers["x-should-retry"] = "false"
    if isinstance(error, MethodNotAllowed):
        headers["allow"] = ", ".join(error.allow)
    if row.status == 401:
        headers["www-authenticate"] = "Bearer"
    return headers


def _clients_would_retry(row: Row) -> bool:
    return row.status in RETRIED_BY_CLIENTS or row.status >= 500


def shown(text: str, limit: int = MAX_ECHO) -> str:
    """A client's words as an answer may repeat them: encodable, and no longer than `limit`."""
    text = text.encode("utf-8", "replace").decode("utf-8")
    return text if len(text) <= limit else f"{text[: limit - 3]}..."
