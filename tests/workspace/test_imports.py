"""Who may import whom, as data; every import of every file is read."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "core" / "src" / "embedwell"

HALLS = {"errors", "interfaces", "config"}
ROOMS = {
    "models", "tokenization", "cache", "batching", "engine", "tasks", "state", "http", "events",
    "loader", "bench",
}  # fmt: skip
INSIDE = HALLS | ROOMS - {"http", "bench"}
PARTS = {
    "embedder", "journal", "report", "lines", "loads", "logs", "loops", "preload", "warmup",
    "catalog", "samples", "tidying",
}  # fmt: skip
COMMANDS = {"verify"}  # what the command line alone uses
ALLOWED: dict[str, set[str]] = {
    **dict.fromkeys(HALLS, HALLS),
    **{room: HALLS | {room} for room in ROOMS},
    "embedder": INSIDE,
    "report": INSIDE | {"loops"},
    "exposure": HALLS,
    "loads": INSIDE,
    "samples": INSIDE,
    "lines": set(),
    "logs": HALLS | {"lines"},
    "loops": set(),
    "preload": INSIDE,
    "journal": HALLS,
    "warmup": INSIDE,
    "tidying": INSIDE,
    "catalog": INSIDE | {"report"},
    "verify": INSIDE | {"catalog", "samples", "verify"},
    "assembly": INSIDE | PARTS,
    "runtime": INSIDE | PARTS | {"assembly"},
    "app": HALLS | ROOMS | PARTS | {"exposure", "runtime"},
    "transport": HALLS | {"http", "transport"},
    "process": HALLS,
    "announcing": HALLS | {"exposure", "logs", "runtime"},
    "serve": HALLS
    | ROOMS
    | PARTS
    | {"announcing", "exposure", "process", "runtime", "app", "transport"},
    "cli": HALLS
    | ROOMS
    | PARTS
    | COMMANDS
    | {"exposure", "transport", "runtime", "app", "serve", "cli"},
    "testing": HALLS | ROOMS | PARTS | {"runtime", "app", "transport", "serve", "testing"},
    "__init__": HALLS,
    "__main__": {"cli"},
}
HOMES: dict[str, set[str]] = {
    "torch": {"engine"},
    "transformers": {"engine"},
    "safetensors": {"engine"},
    "tokenizers": {"tokenization"},
    "quart": {"http", "app"},
    "werkzeug": {"http", "app"},
    "hypercorn": {"transport"},
    "h11": {"transport"},
    "pluggy": {"interfaces", "loader"},
    "numpy": {"engine", "embedder", "http", "models", "verify"},
    "huggingface_hub": set(),
    "httpcore": set(),
    "pynvml": {"engine"},
    "sqlite3": {"state"},
    "uvloop": {"loops"},
    "sentence_transformers": {"verify"},
}
HEAVY = {
    "torch", "transformers", "safetensors", "tokenizers", "hypercorn", "quart",
    "sentence_transformers",
}  # fmt: skip
HEAVY_HOMES = {
    "engine",
    "serve",
    "http",
    "app",
    "transport",
}  # themselves imported only inside functions
PURE = {
    "batching/plan.py",
    "cache/ledger.py",
    "cache/naming.py",
    "cache/wishes.py",
    "cache/waiting.py",
    "cache/usage.py",
    "cache/states.py",
    "models/names.py",
    "models/pointers.py",
    "models/room.py",
}
IMPURE = {
    "time",
    "asyncio",
    "anyio",
    "threading",
    "torch",
    "os",
    "random",
    "datetime",
    "subprocess",
}


class Import:
    """One import: the module's dotted name, and whether importing the file runs it."""

    def __init__(self, name: str, at_import: bool, typing_only: bool) -> None:
        self.name, self.at_import, self.typing_only = name, at_import, typing_only
        self.first, *self.rest = name.split(".")


def imports(source: str) -> Iterator[Import]:
    tree = ast.parse(source)
    inside = _below(tree, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
    typing = {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for child in ast.walk(node)
    }
    for node in ast.walk(tree):
        for name in _names(node):
            yield Import(name, id(node) not in inside, id(node) in typing)


def _below(tree: ast.AST, kinds: tuple[type[ast.AST], ...]) -> set[int]:
    return {id(n) for f in ast.walk(tree) if isinstance(f, kinds) for n in ast.walk(f)}


def _names(node: ast.AST) -> list[str]:
    match node:
        case ast.Import(names=names):
            return [alias.name for alias in names]
        case ast.ImportFrom(module=module, names=names, level=level):
            if level:
                return ["embedwell.<relative>"]
            return [f"{module}.{alias.name}" for alias in names]
        case ast.Call(
            func=ast.Attribute(attr="import_module"), args=[ast.Constant(value=str(name)), *_]
        ):
            return [name]
        case ast.Call(
            func=ast.Name(id="import_module" | "__import__"),
            args=[ast.Constant(value=str(name)), *_],
        ):
            return [name]
    return []


def violations(package: Path) -> Iterator[str]:
    for file in sorted(package.rglob("*.py")):
        where = file.relative_to(package).as_posix()
        room = where.split("/")[0].removesuffix(".py")
        if room not in ALLOWED:
            yield f"{where}: {room} is not a room of the tree"
            continue
        for found in imports(file.read_text()):
            yield from (f"{where}: {why}" for why in _faults(found, where, room))


def _faults(found: Import, where: str, room: str) -> Iterator[str]:
    at_run = found.at_import and not found.typing_only
    target = found.rest[0] if found.first == "embedwell" and found.rest else ""
    if target and target not in ALLOWED[room] | {"__version__"}:
        yield f"{room} must not import {target}"
    if not found.typing_only and room not in HOMES.get(found.first, {room}) | {"testing"}:
        yield f"{found.first} does not live in {room}"
    if found.first in HEAVY and at_run and room not in HEAVY_HOMES | {"testing"}:
        yield f"{found.first} is imported at import time"
    if target in HEAVY_HOMES and at_run and room not in HEAVY_HOMES | {"testing"}:
        yield f"{found.name} is heavy: import it inside a function"
    if where in PURE and found.first in IMPURE:
        yield f"a pure file must not import {found.first}"


def test_core_keeps_the_import_rule() -> None:
    assert list(violations(PACKAGE)) == []


def test_plugins_import_the_public_api_only() -> None:
    bad = [
        f"{file.relative_to(ROOT)}: {found.name}"
        for folder in ("sources", "caches", "plugins")
        for file in sorted((ROOT / folder).rglob("src/**/*.py"))
        for found in imports(file.read_text())
        if found.first == "embedwell" and found.rest[:1] != ["testing"] and len(found.rest) != 1
    ]
    assert bad == []


@pytest.mark.parametrize(
    ("file", "line", "reason"),
    [
        ("cache/x.py", "from embedwell.engine.cpu import backend", "must not import engine"),
        ("embedder.py", "from embedwell.http import wire", "must not import http"),
        ("models/x.py", "import torch", "does not live"),
        ("tokenization/x.py", "import tokenizers", "at import time"),
        ("batching/plan.py", "import time", "pure"),
        ("cli/x.py", "from embedwell.serve import run", "heavy"),
        ("loader/x.py", "def f():\n    import importlib\n    importlib.import_module('embedwell.cache')", "must not"),
        ("events.py", "def f():\n    __import__('torch')", "does not live"),
        ("config/x.py", "from . import load", "relative"),
        ("cache/x.py", "import numpy as np", "does not live"),
        ("verify/x.py", "import sentence_transformers", "at import time"),
        ("engine/x.py", "def f():\n    import sentence_transformers", "does not live"),
        ("stray.py", "", "not a room"),
    ],
)  # fmt: skip
def test_planted_faults_are_found(tmp_path: Path, file: str, line: str, reason: str) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(line)
    assert any(reason in violation for violation in violations(tmp_path))
