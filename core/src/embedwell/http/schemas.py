"""The Structs of requests and answers as JSON Schema, as precise as the server is."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from embedwell.http.envelope import ErrorBody
from embedwell.http.wire import EmbeddingRequest, shape
from embedwell.interfaces.routes import Route

Json = dict[str, Any]
REFERENCE = "#/components/schemas/"
TOKEN_ID = {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}


class Schemas(NamedTuple):
    """`of` has the reference to each type's schema, `components` the schemas by name."""

    of: Mapping[Any, Json]
    components: dict[str, Json]


def schemas(routes: Sequence[Route], max_inputs: int) -> Schemas:
    """Raises TypeError for a Struct that JSON Schema cannot express."""
    types = list(dict.fromkeys([ErrorBody, *_types(routes)]))
    found, components = msgspec.json.schema_components(types, ref_template=f"{REFERENCE}{{name}}")
    made = Schemas(dict(zip(types, found, strict=True)), dict(components))
    if EmbeddingRequest in made.of:
        described = components[EmbeddingRequest.__name__]["properties"]["input"]
        described |= _input(max_inputs)
    for schema in components.values():
        schema["description"] = inspect.cleandoc(schema.get("description", ""))
    _complete(made, [made.of[kind] for route in routes for kind in _asked(route)])
    return made


def _types(routes: Sequence[Route]) -> Iterator[Any]:
    for route in routes:
        yield from _asked(route)
        declared = (r for r in route.replies.values() if r is not None and not isinstance(r, str))
        yield from map(shape, declared)


def _asked(route: Route) -> Iterator[Any]:
    return (kind for kind in (route.body, route.form) if kind is not None)


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


def _complete(made: Schemas, asked: Sequence[Json]) -> None:
    """Answers have every field that has a default; only requests may leave those out."""
    requests = _reached(asked, made.components)
    for name, schema in made.components.items():
        if name not in requests and "properties" in schema:
            given = schema.get("required", ())
            schema["required"] = [
                field
                for field, part in schema["properties"].items()
                if field in given or "default" in part
            ]


def _reached(start: Sequence[Json], components: Mapping[str, Json]) -> set[str]:
    found: set[str] = set()
    todo = [*_names(start)]
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo += _names(components[name])
    return found


def _names(part: Any) -> Iterator[str]:
    """Of the schemas that this one refers to."""
    if isinstance(part, Mapping):
        if "$ref" in part:
            yield part["$ref"].removeprefix(REFERENCE)
        part = [*part.values()]
    if isinstance(part, Sequence) and not isinstance(part, str):
        for inner in part:
            yield from _names(inner)
