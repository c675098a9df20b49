"""Routes and their Structs as an OpenAPI 3.1 document."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from embedwell.http.deadline import NAME as TIMEOUT_HEADER
from embedwell.http.decode import has_required
from embedwell.http.envelope import ErrorBody, statuses
from embedwell.http.table import VARIABLE
from embedwell.http.wire import EmbeddingRequest, shape
from embedwell.interfaces.routes import Route

Json = dict[str, Any]
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
TOKEN_ID = {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}
KEYS = {"key": {"type": "http", "scheme": "bearer"}}


def document(
    routes: Sequence[Route], version: str, max_inputs: int, *, guarded: bool = False
) -> bytes:
    """The document as JSON; raises TypeError for a Struct that JSON Schema cannot express.

    `guarded` says that some plugin asks for keys.
    """
    types = list(dict.fromkeys([ErrorBody, *_types(routes)]))
    found, components = msgspec.json.schema_components(
        types, ref_template="#/components/schemas/{name}"
    )
    schemas = dict(zip(types, found, strict=True))
    if EmbeddingRequest in schemas:
        components[EmbeddingRequest.__name__]["properties"]["input"] = _input(max_inputs)
    paths: dict[str, Json] = {}
    for route in routes:
        path = paths.setdefault(VARIABLE.sub(r"{\1}", route.path), {})
        path[route.method.lower()] = _operation(route, schemas) | _security(route, guarded)
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {"title": "Embedwell", "version": version},
            "paths": paths,
            "components": {"schemas": components} | ({"securitySchemes": KEYS} if guarded else {}),
        }
    )


def _types(routes: Sequence[Route]) -> Iterator[Any]:
    for route in routes:
        if route.body is not None:
            yield route.body
        declared = (r for r in route.replies.values() if r is not None and not isinstance(r, str))
        yield from map(shape, declared)


def _input(most: int) -> Json:
    """What the decoder and its checks take together: lists of one kind only."""
    text = {"type": "string"}
    tokens = {"type": "array", "items": TOKEN_ID, "minItems": 1}
    return {
        "anyOf": [
            text,
            {"type": "array", "items": text, "minItems": 1, "maxItems": most},
            tokens,
            {"type": "array", "items": tokens, "minItems": 1, "maxItems": most},
        ]
    }


def _operation(route: Route, schemas: Mapping[Any, Json]) -> Json:
    operation: Json = {
        "operationId": _identifier(route),
        "summary": route.summary,
        "tags": [route.access],
        "parameters": [
            *map(_path_parameter, VARIABLE.findall(route.path)),
            *(_query_parameter(name, text) for name, text in route.query.items()),
            _timeout_parameter(),
        ],
        "responses": _responses(route, schemas),
    }
    if route.body is not None:
        content = {"application/json": {"schema": schemas[route.body]}}
        operation["requestBody"] = {"required": has_required(route.body), "content": content}
    elif route.stream:
        operation["requestBody"] = {"required": True, "content": {t: {} for t in route.accepts}}
    return operation


def _security(route: Route, guarded: bool) -> Json:
    """Which scope a key needs, by OpenAPI 3.1 the role."""
    asks = guarded and route.access != "public"
    return {"security": [{"key": [route.access]}]} if asks else {}


def _identifier(route: Route) -> str:
    words = re.findall(r"[A-Za-z0-9]+", f"{route.method.lower()} {route.path}")
    return "_".join(words)


def _path_parameter(name: str) -> Json:
    schema = {"type": "string", "minLength": 1}
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _query_parameter(name: str, description: str) -> Json:
    return {"name": name, "in": "query", "description": description, "schema": {"type": "string"}}


def _timeout_parameter() -> Json:
    return {
        "name": TIMEOUT_HEADER,
        "in": "header",
        "description": "Seconds; only ever shortens the server's own deadline",
        "schema": {"type": "number", "exclusiveMinimum": 0, "maximum": 999_999_999},
    }


def _responses(route: Route, schemas: Mapping[Any, Json]) -> Json:
    answers: dict[int, Json] = {
        status: {"description": "Success", **_content(reply, schemas)}
        for status, reply in route.replies.items()
    }
    for status, codes in _errors(route).items():
        content = {"application/json": {"schema": schemas[ErrorBody]}}
        answers.setdefault(status, {"description": ", ".join(codes), "content": content})
    return {str(status): answers[status] for status in sorted(answers)}


def _content(reply: Any, schemas: Mapping[Any, Json]) -> Json:
    if reply is None:
        return {}
    if isinstance(reply, str):
        return {"content": {reply: {}}}
    return {"content": {"application/json": {"schema": schemas[shape(reply)]}}}


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
