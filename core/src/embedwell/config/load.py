"""File, environment and command line → one Config, or every reason why not."""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from embedwell.config.schema import Batching, Cache, Config, Engine, Server, Sources, Store
from embedwell.config.server import faults
from embedwell.config.tables import EnvText, convert_table, unknown
from embedwell.errors import ConfigurationError

PREFIX = "EMBEDWELL_"
GUIDE = {
    "INFERENCE_DEVICE": "engine.device",
    "CACHE_STRATEGY": "cache.strategy",
    "CACHE_MAX_MODELS": "cache.fixed_size.max_models",
    "CACHE_VRAM_SAFETY_MARGIN_GB": "cache.safety_margin_gb",
}
SECTIONS: dict[str, type[msgspec.Struct]] = {
    "server": Server,
    "engine": Engine,
    "batching": Batching,
    "cache": Cache,
    "sources": Sources,
    "store": Store,
}
OPEN = ("cache", "sources")  # sections with a table for each plugin beside their own keys


def load(
    path: Path | None, environment: Mapping[str, str], overrides: Mapping[str, object]
) -> Config:
    """Defaults < file < environment < `overrides` (dotted names, from the command line).

    Raises ConfigurationError with every reason. Plugins' own tables are checked by the loader.
    """
    config, reasons = survey(path, environment, overrides)
    if reasons:
        raise ConfigurationError(reasons)
    return config


def survey(
    path: Path | None, environment: Mapping[str, str], overrides: Mapping[str, object]
) -> tuple[Config, list[str]]:
    """As `load`, but returns the reasons; sections at fault are there with their defaults."""
    reasons: list[str] = []
    tree = _read(path, reasons) if path else {}
    variables = _from_environment(environment, reasons)
    for name, value in variables.items():
        _put(tree, name.split("."), value, reasons)
    for name, override in overrides.items():
        _put(tree, name.split("."), override, reasons)
    config = _convert(tree, reasons)
    return config, [_with_variable(reason, variables) for reason in reasons]


def with_variables(reasons: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """Names the variables that reasons found later come from, as `survey` does with its own."""
    variables = _from_environment(environment, [])
    return [_with_variable(reason, variables) for reason in reasons]


def _with_variable(reason: str, variables: Mapping[str, "Variable"]) -> str:
    """For one who looks in vain for the key, or for its table, in the file."""
    path = reason.partition(":")[0]
    while path:
        if path in variables:
            return f"{reason} (from {variables[path].name})"
        path = path.rpartition(".")[0]
    return reason


def _read(path: Path, reasons: list[str]) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        reasons.append(f"{path}: cannot be read: {error.strerror}")
    except UnicodeDecodeError:
        reasons.append(f"{path}: cannot be read: not UTF-8")
    except RecursionError:
        reasons.append(f"{path}: not TOML: nested too deep")
    except ValueError as error:  # a number of 5,000 digits is no TOMLDecodeError
        reasons.append(f"{path}: not TOML: {error}")
    return {}


class Variable(EnvText):
    """A value and the variable that it came from."""

    name: str

    @classmethod
    def of(cls, environment: Mapping[str, str], name: str) -> "Variable":
        made = cls(environment[name])
        made.name = name
        return made


def _from_environment(environment: Mapping[str, str], reasons: list[str]) -> dict[str, Variable]:
    found = {k: Variable.of(environment, n) for n, k in GUIDE.items() if n in environment}
    for name in sorted(name for name in environment if name.startswith(PREFIX)):
        if "__" not in name:
            reasons += _meant(name, environment[name])
            continue
        parts = name.removeprefix(PREFIX).lower().split("__")
        if len(parts) in (2, 3) and all(parts) and parts[0] in (*SECTIONS, "plugins"):
            found[".".join(parts)] = Variable.of(environment, name)
        else:
            reasons.append(f"{name}: not a setting; write EMBEDWELL_SECTION__KEY")
    return found


def _meant(name: str, value: str) -> list[str]:
    """A setting with one underscore too few; others are not ours.

    Kubernetes sets EMBEDWELL_PORT=tcp://… and more for a service of this name.
    """
    section, _, key = name.removeprefix(PREFIX).lower().partition("_")
    kind = SECTIONS.get(section)
    if kind is None or key not in kind.__struct_fields__ or value.startswith("tcp://"):
        return []
    return [f"{name}: not a setting; did you mean {PREFIX}{section.upper()}__{key.upper()}?"]


def _put(tree: dict[str, Any], parts: list[str], value: object, reasons: list[str]) -> None:
    table = tree
    for part in parts[:-1]:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            reasons.append(f"{'.'.join(parts)}: {part} is not a table")
            return
    table[parts[-1]] = value


def _convert(tree: dict[str, Any], reasons: list[str]) -> Config:
    known = (*SECTIONS, "aliases", "plugins")
    reasons += [unknown(key, key, dict.fromkeys(known)) for key in tree if key not in known]
    built: dict[str, Any] = {}
    for name, kind in SECTIONS.items():
        table = tree.get(name, {})
        if name in OPEN and isinstance(table, dict):
            if not isinstance(table.get("tables", {}), dict):
                reasons.append(f"{name}.tables: unknown key; write [{name}.<plugin>]")
            table = _gather(kind, table)
        value, problems = convert_table(kind, table, name)
        reasons += [problem.replace(f"{name}.tables", name) for problem in problems]
        built[name] = value if value is not None else kind()
    plugins = tree.get("plugins", {})
    if not isinstance(plugins, dict) or not all(isinstance(t, dict) for t in plugins.values()):
        reasons.append("plugins: expected one table a plugin, [plugins.<name>]")
        plugins = {}
    config = Config(**built, aliases=_aliases(tree.get("aliases", {}), reasons), plugins=plugins)
    _check_timeouts(config, reasons)
    reasons += faults(config.server)
    return config


def _aliases(table: Any, reasons: list[str]) -> dict[str, str]:
    """Names and tags as they stand; whether they are tags is checked where tags are known."""
    if not isinstance(table, dict):
        reasons.append('aliases: expected a table, [aliases] with "name" = "tag"')
        return {}
    reasons += [
        f'aliases."{name}": expected a tag, got {tag!r:.60}'
        for name, tag in table.items()
        if not isinstance(tag, str)
    ]
    return {name: tag for name, tag in table.items() if isinstance(tag, str)}


def _check_timeouts(config: Config, reasons: list[str]) -> None:
    batch, request = config.batching.batch_timeout, config.server.request_timeout
    if 2 * batch > request:
        reasons.append(
            f"batching.batch_timeout: twice {batch:g} s must fit in "
            f"server.request_timeout, {request:g} s"
        )


def _gather(kind: type[msgspec.Struct], table: dict[str, Any]) -> dict[str, Any]:
    """A section's own keys, and under `tables` the sub-tables of plugins."""
    own = {field.name for field in msgspec.structs.fields(kind)} - {"tables"}
    tables = {k: v for k, v in table.items() if isinstance(v, dict) and k not in own}
    return {k: v for k, v in table.items() if k not in tables} | {"tables": tables}
