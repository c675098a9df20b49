"""Routes as an OpenAPI 3.1 document."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from embedwell.http.deadline import NAME as TIMEOUT_HEADER
from embedwell.http.decode import has_required
from embedwell.http.responses import examples, headers, responses
from embedwell.http.schemas import Json, schemas
from embedwell.http.table import TAG, VARIABLE
from embedwell.interfaces.models import TAG_PATTERN
from embedwell.interfaces.routes import Access, Route

SUMMARY = (
    "An OpenAI-compatible embeddings server for many models. "
    "Every error has the same body; a field that is null counts as absent."
)
KEYS = {"key": {"type": "http", "scheme": "bearer"}}
GROUPS: Mapping[Access, str] = {
    "embed": "Vectors and the models that make them",
    "manage": "Which models there are, and which of them are loaded",
    "metrics": "Figures for a monitoring system",
    "public": "Open to everybody, with or without keys",
}


def document(
    routes: Sequence[Route], version: str, max_inputs: int, *, guarded: bool = False
) -> bytes:
    """The document as JSON; raises TypeError for a Struct that JSON Schema cannot express.

    `guarded` says that some plugin asks for keys.
    """
    known = schemas(routes, max_inputs)
    paths: dict[str, Json] = {}
    for route in routes:
        path = paths.setdefault(VARIABLE.sub(r"{\1}", route.path), {})
        path[route.method.lower()] = _operation(route, known.of) | _security(route, guarded)
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": _info(version),
            "tags": [{"name": name, "description": text} for name, text in GROUPS.items()],
            "paths": paths,
            "components": {
                "schemas": known.components,
                "headers": headers(),
                "examples": examples(),
            }
            | ({"securitySchemes": KEYS} if guarded else {}),
        }
    )


def _info(version: str) -> Json:
    terms = {"name": "Apache-2.0", "identifier": "Apache-2.0"}
    return {"title": "Embedwell", "version": version, "description": SUMMARY, "license": terms}


def _operation(route: Route, known: Mapping[Any, Json]) -> Json:
    operation: Json = {
        "operationId": _identifier(route),
        "summary": route.summary,
        "tags": [route.access],
        "parameters": [
            *map(_path_parameter, VARIABLE.findall(route.path)),
            *(_query_parameter(name, text) for name, text in route.query.items()),
            _timeout_parameter(),
        ],
        "responses": responses(route, known),
    }
    if route.body is not None:
        content = {"application/json": {"schema": known[route.body]}}
        operation["requestBody"] = {"required": has_required(route.body), "content": content}
    elif route.stream:
        schema = {} if route.form is None else {"schema": known[route.form]}
        content = dict.fromkeys(route.accepts, schema)
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _security(route: Route, guarded: bool) -> Json:
    """Which scope a key needs, by OpenAPI 3.1 the role."""
    asks = guarded and route.access != "public"
    return {"security": [{"key": [route.access]}]} if asks else {}


def _identifier(route: Route) -> str:
    words = re.findall(r"[A-Za-z0-9]+", f"{route.method.lower()} {route.path}")
    return "_".join(words)


def _path_parameter(name: str) -> Json:
    found: Json = {"name": name, "in": "path", "required": True}
    if name != TAG:
        return found | {"schema": {"type": "string", "minLength": 1}}
    text = "A model's tag; its slash may be sent as it is, or as %2F"
    return found | {"description": text, "schema": {"type": "string", "pattern": TAG_PATTERN}}


def _query_parameter(name: str, description: str) -> Json:
    return {"name": name, "in": "query", "description": description, "schema": {"type": "string"}}


def _timeout_parameter() -> Json:
    return {
        "name": TIMEOUT_HEADER,
        "in": "header",
        "description": "Seconds; only ever shortens the server's own deadline",
        "schema": {"type": "number", "minimum": 0.001, "maximum": 999_999_999},
    }
