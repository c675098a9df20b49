"""One table → one Struct, with every fault of it rather than the first."""

import math
import re
import tomllib
import types
from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec

S = TypeVar("S", bound=msgspec.Struct)
PRIVATE = ("token", "secret", "password", "key")  # rather one too many, such as max_batch_tokens
MISSING = ": required, but missing"
GOT = re.compile(r", got \w+")


class EnvText(str):
    """A value from the environment: text that may stand for a number, a boolean, a list."""


def convert_table(
    kind: type[S], table: Any, path: str, *, private: bool = False
) -> tuple[S | None, list[str]]:
    """The Struct, or None and why not: one reason per fault, each with its path.

    `private` shows no value, whatever its key is called. Each text of a ValueError that the
    Struct itself raises is a reason, by its field where it begins with one.
    """
    if not isinstance(table, dict):
        return None, [f"{path}: expected a table"]
    if not kind.__struct_config__.forbid_unknown_fields:
        return None, [f"{path}: {kind.__name__} must be declared with forbid_unknown_fields=True"]
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    reasons = [unknown(f"{path}.{key}", key, fields) for key in table if key not in fields]
    values: dict[str, Any] = {}
    for name, field in fields.items():
        if name in table:
            hidden = private or any(word in name for word in PRIVATE)
            value, problem = _convert(field.type, table[name], f"{path}.{name}", hidden)
            values[name] = value
            reasons += problem
        elif field.required:
            reasons.append(f"{path}.{name}{MISSING}")
    if reasons:
        return None, reasons
    try:
        return msgspec.convert(values, kind, from_attributes=True), []
    except (msgspec.ValidationError, ValueError) as error:
        return None, [_at(path, text, fields) for text in _texts(error)]
    except Exception as error:  # __post_init__ is a plugin's code
        return None, [f"{path}: {type(error).__name__}: {error}"]


def unknown(path: str, key: str, known: Mapping[str, Any]) -> str:
    """The reason for a key that nobody reads, with a guess at what was meant."""
    near = get_close_matches(key, known, n=1)
    hint = f'did you mean "{near[0]}"?' if near else f"known keys: {', '.join(sorted(known))}"
    return f"{path}: unknown key; {hint}"


def _texts(error: Exception) -> Sequence[str]:
    own = error.__cause__ or error  # msgspec makes one text of a ValueError
    return [str(text) for text in own.args] if type(own) is ValueError else [str(error)]


def _at(path: str, text: str, fields: Collection[str]) -> str:
    return f"{path}.{text}" if text.partition(":")[0] in fields else f"{path}: {text}"


def _convert(kind: Any, value: Any, path: str, private: bool) -> tuple[Any, list[str]]:
    inner, each = _struct_in(kind), _struct_in_each(kind)
    problem = ""
    for candidate in _readings(value):
        if inner is not None and not private and isinstance(candidate, dict):
            return convert_table(inner, candidate, path)
        if each is not None and isinstance(candidate, dict):
            return _convert_each(each, candidate, path, private)
        try:
            converted = msgspec.convert(candidate, kind)
        except msgspec.ValidationError as error:
            problem = problem or str(error)
            continue
        if _finite(converted):
            return converted, []
        problem = "expected a finite number"
    said = f"{path}: {_choices(kind) or _described(kind) or _plain(problem)}"
    return None, [said if private else f"{GOT.sub('', said)}, got {_short(value)}"]


def _convert_each(
    kind: type[msgspec.Struct], tables: dict[str, Any], path: str, private: bool
) -> tuple[dict[str, Any], list[str]]:
    values: dict[str, Any] = {}
    reasons: list[str] = []
    for name, table in tables.items():
        values[name], problems = convert_table(kind, table, f"{path}.{name}", private=private)
        reasons += problems
    return values, reasons


def _choices(kind: Any) -> str:
    if get_origin(kind) is not Literal:
        return ""
    return f"expected {' or '.join(str(choice) for choice in get_args(kind))}"


def _described(kind: Any) -> str:
    """What the setting's own Meta says instead of a pattern."""
    texts = [item.description for item in get_args(kind) if isinstance(item, msgspec.Meta)]
    return next((f"expected {text}" for text in texts if text), "")


def _struct_in(kind: Any) -> type[msgspec.Struct] | None:
    """The one plain Struct that a field holds, perhaps beside None."""
    options = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
    found = [o for o in options if isinstance(o, type) and issubclass(o, msgspec.Struct)]
    return found[0] if len(found) == 1 and found[0].__struct_config__.tag is None else None


def _struct_in_each(kind: Any) -> type[msgspec.Struct] | None:
    """The one plain Struct in each table of a field that holds tables by their names."""
    return _struct_in(get_args(kind)[1]) if get_origin(kind) is dict else None


def _readings(value: Any) -> list[Any]:
    """What a value may mean: itself, or, from the environment, the TOML it spells and its text."""
    if not isinstance(value, EnvText):
        return [value]
    text = str(value)
    try:
        return [tomllib.loads(f"value = {text}")["value"], text]
    except (ValueError, RecursionError):
        return [text.lower() == "true", text] if text.lower() in ("true", "false") else [text]


def _finite(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, list | tuple):
        return all(_finite(item) for item in value)
    if isinstance(value, dict):
        return all(_finite(item) for item in value.values())
    return True


def _plain(problem: str) -> str:
    """msgspec's message in our voice: no back-ticks, positions without the `$`."""
    text = problem.replace("`", "").replace(" - at $", " at ").strip()
    text = text.replace("Expected array", 'expected a list such as ["one", "two"]')
    return text[:1].lower() + text[1:]


def _short(value: Any) -> str:
    text = repr(str(value) if isinstance(value, EnvText) else value)
    return text if len(text) <= 60 else f"{text[:57]}..."
