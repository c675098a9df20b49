"""What is refused of plugins: hooks that could not be called, specs that could not work."""

import inspect
import re
from typing import Any

from msgspec import Struct, structs

from embedwell.config.schema import Cache, Sources

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
TAKEN = {  # a table of that name would be read as the section's own key
    "source": {field.name for field in structs.fields(Sources)},
    "cache": {field.name for field in structs.fields(Cache)},
    "plugin": set[str](),
}


def refuse_class(plugin: object) -> None:
    """Raises TypeError: hooks are called on a module or an instance."""
    if inspect.isclass(plugin):
        raise TypeError("it is a class: let the entry point name a module or an instance")


def refuse_odd_hooks(plugin: object) -> None:
    """Raises TypeError for hooks that are no plain functions."""
    for name in dir(plugin):
        function = getattr(plugin, name, None)
        options = getattr(function, "embedwell_impl", None)
        if not isinstance(options, dict):
            continue
        if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(
                f"{name} is async: hooks are plain functions; await in the object built"
            )
        if options.get("wrapper") or options.get("hookwrapper"):
            raise TypeError(f"{name} is a wrapper: register a spec of your own instead")


def refuse_odd_answer(hook: str, answer: object) -> None:
    """Raises TypeError unless the hook returned a list, or yielded."""
    if not isinstance(answer, list | tuple) and not inspect.isgenerator(answer):
        raise TypeError(f"{hook} returned {type(answer).__name__}: return a list of specs")


def refuse_odd_spec(kind: str, spec: Any) -> None:
    """Raises TypeError or ValueError for one that could be neither configured nor built."""
    _refuse_odd_name(kind, spec.name)
    if not inspect.isclass(spec.config) or not issubclass(spec.config, Struct):
        raise TypeError(f"{spec.name}: config must be a Struct class")
    if not spec.config.__struct_config__.forbid_unknown_fields:
        raise TypeError(f"{spec.name}: its config must be declared forbid_unknown_fields=True")
    if not callable(spec.build):
        raise TypeError(f"{spec.name}: build must be callable")
    if kind == "source" and not isinstance(spec.priority, int):
        raise TypeError(f"{spec.name}: priority must be an integer")


def _refuse_odd_name(kind: str, name: object) -> None:
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise TypeError(f"{name!r} cannot be a name: use letters, digits, - and _")
    if name in TAKEN[kind]:
        raise ValueError(f'a {kind} cannot be named "{name}": that is a setting already')
