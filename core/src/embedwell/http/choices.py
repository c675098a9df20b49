"""What a body's Struct would have taken, for messages about what it does not."""

from typing import Any, Literal, get_args, get_origin

import msgspec


def takes(body: Any, field: str | None) -> str:
    """The values of a field that has only certain ones, or with None the fields; "" if any do."""
    if not (isinstance(body, type) and issubclass(body, msgspec.Struct)):
        return ""
    fields = {each.encode_name: each.type for each in msgspec.structs.fields(body)}
    names = list(fields) if field is None else _literals(fields.get(field))
    return f"; it takes {', '.join(names)}" if names else ""


def _literals(declared: Any) -> list[str]:
    if get_origin(declared) is Literal:
        return [str(value) for value in get_args(declared)]
    return [value for part in get_args(declared) for value in _literals(part)]
