"""What routes answer, for the OpenAPI document: successes, errors, headers, examples."""

from collections.abc import Mapping
from typing import Any

import msgspec

from embedwell import errors
from embedwell.http.envelope import ErrorBody, body_of, statuses
from embedwell.http.schemas import Json
from embedwell.http.table import VARIABLE
from embedwell.http.wire import shape
from embedwell.interfaces.routes import Route

EVERYWHERE = (
    "BAD_REQUEST",
    "VALIDATION_ERROR",
    "FORBIDDEN",
    "PAYLOAD_TOO_LARGE",
    "TIMEOUT",
    "INTERNAL",
)
BEHIND_GUARDS = ("UNAUTHORIZED", "OVERLOADED", "RATE_LIMITED", "DRAINING")
WITH_BODY = ("UNSUPPORTED_MEDIA_TYPE",)
ONLY_WITH_BODY = {408, 413}
MAY_PASS = {429, 502, 503}  # statuses after which the same request may succeed

HEADERS: Mapping[str, Json] = {
    "x-request-id": {
        "description": "Of this request: as its client sent it, where that was well formed",
        "schema": {"type": "string"},
    },
    "retry-after": {
        "description": "Seconds until the same request may succeed; absent where it never will",
        "schema": {"type": "integer", "minimum": 1},
    },
    "retry-after-ms": {
        "description": "The same in milliseconds",
        "schema": {"type": "integer", "minimum": 1},
    },
    "x-should-retry": {
        "description": "false where trying again is of no use",
        "schema": {"enum": ["false"], "type": "string"},
    },
    "www-authenticate": {"description": "Bearer", "schema": {"type": "string"}},
}
SHOWN: tuple[errors.EmbedwellError, ...] = (
    errors.BadRequest("The body is empty: a JSON object is expected"),
    errors.Invalid("Field required: model", param="model"),
    errors.Unauthorized("The request has no valid key"),
    errors.Forbidden("The key does not allow this"),
    errors.ModelNotFound("nonexistent-model", "; GET /models lists those at hand"),
    errors.DeadlineExceeded("The request did not finish within 120 seconds"),
    errors.Conflict("The name is being published by another request"),
    errors.PayloadTooLarge("The body is larger than 16,000,000 bytes (server.max_body_mb)"),
    errors.UnsupportedMediaType("The Content-Type must be application/json, not text/plain"),
    errors.InvalidModel("tokenizer.json is missing"),
    errors.ModelError("The model gave numbers that are not finite for this input"),
    errors.Overloaded("Too much work is queued: 999000 tokens wait, this request adds 2000"),
    errors.RateLimited("The key has used up its requests of this minute"),
    errors.OutOfMemory("Model loading failed: CUDA out of memory"),
    errors.Loading("The model is being downloaded"),
    errors.Draining(),
    errors.SourceError("Source huggingface failed to resolve owner/name"),
    errors.InsufficientStorage("The disk is full"),
    errors.EmbedwellError("Internal error; the server's log has more under request id req-0"),
)


def headers() -> Json:
    """Components: every header that an answer may have, by its name."""
    return dict(HEADERS)


def examples() -> Json:
    """Components: an error of each code, as the server writes it."""
    return {error.code: {"value": msgspec.to_builtins(body_of(error))} for error in SHOWN}


def responses(route: Route, schemas: Mapping[Any, Json]) -> Json:
    """By status, as OpenAPI has them; `schemas` has a reference for each type."""
    answers: dict[int, Json] = {
        status: _success(route, reply, schemas) for status, reply in route.replies.items()
    }
    for status, codes in _errors(route).items():
        answers.setdefault(status, _error(status, codes, schemas[ErrorBody]))
    return {str(status): answers[status] for status in sorted(answers)}


def _success(route: Route, reply: Any, schemas: Mapping[Any, Json]) -> Json:
    own = {
        name: {"description": text, "schema": {"type": "string"}}
        for name, text in route.headers.items()
    }
    headers = {"x-request-id": _header("x-request-id"), **own}
    return {"description": "Success", "headers": headers, **_content(reply, schemas)}


def _content(reply: Any, schemas: Mapping[Any, Json]) -> Json:
    if reply is None:
        return {}
    if isinstance(reply, str):
        return {"content": {reply: {}}}
    return {"content": {"application/json": {"schema": schemas[shape(reply)]}}}


def _error(status: int, codes: list[str], schema: Json) -> Json:
    names = ["x-request-id"]
    names += ["retry-after", "retry-after-ms", "x-should-retry"] if status in MAY_PASS else []
    names += ["www-authenticate"] if status == 401 else []
    shown = {code: {"$ref": f"#/components/examples/{code}"} for code in codes}
    return {
        "description": ", ".join(codes),
        "headers": {name: _header(name) for name in names},
        "content": {"application/json": {"schema": schema, "examples": shown}},
    }


def _header(name: str) -> Json:
    return {"$ref": f"#/components/headers/{name}"}


def _errors(route: Route) -> dict[int, list[str]]:
    reads = route.body is not None or route.stream
    codes = [
        *EVERYWHERE,
        *(BEHIND_GUARDS if route.access != "public" else ()),
        *(WITH_BODY if reads else ()),
        *(("NOT_FOUND",) if VARIABLE.search(route.path) else ()),
        *route.errors,
    ]
    found: dict[int, list[str]] = {}
    for code in dict.fromkeys(codes):
        for status in statuses(code, route.path.startswith("/v1/")):
            if reads or status not in ONLY_WITH_BODY:
                found.setdefault(status, []).append(code)
    return found
