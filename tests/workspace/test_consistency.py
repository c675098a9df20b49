"""One version, every key documented, every target there."""

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import msgspec

import embedwell
from embedwell.config.load import SECTIONS, load
from embedwell.loader.load import load as load_plugins

ROOT = Path(__file__).parents[2]


def test_all_distributions_share_one_version() -> None:
    inits = [*ROOT.glob("core/src/*/__init__.py"), *ROOT.glob("*/*/src/*/__init__.py")]
    versions = {re.findall(r'__version__ = "(.*)"', path.read_text())[0] for path in inits}
    assert len(inits) >= 4
    assert versions == {embedwell.__version__}


def test_every_key_is_in_the_reference_file() -> None:
    file = tomllib.loads((ROOT / "config.toml").read_text())
    for name, kind in SECTIONS.items():
        keys = {field.name for field in msgspec.structs.fields(kind)} - {"tables"}
        written = {k for k, v in file[name].items() if not isinstance(v, dict)}
        assert written == keys, name


def test_every_key_of_the_built_in_plugins_is_too() -> None:
    path = ROOT / "config.toml"
    file = tomllib.loads(path.read_text())
    plugins = load_plugins(load(path, {}, {}))
    own = ("embedwell-source-", "embedwell-cache-", "embedwell-plugin-")
    kinds = {"sources": plugins.sources, "cache": plugins.caches, "plugins": plugins.plugins}
    for section, items in kinds.items():
        for item in items:
            if item.origin.distribution.startswith(own):
                keys = {field.name for field in msgspec.structs.fields(item.spec.config)}
                assert set(file[section][item.spec.name]) == keys, item.spec.name


def test_the_caches_readmes_have_their_keys_with_the_defaults() -> None:
    for item in load_plugins(load(None, {}, {})).caches:
        room = item.origin.distribution.removeprefix("embedwell-cache-")
        text = (ROOT / "caches" / room / "README.md").read_text()
        (block,) = re.findall(r"```toml\n(.*?)```", text, re.S)
        defaults = msgspec.to_builtins(item.spec.config())
        name = item.spec.name
        assert tomllib.loads(block)["cache"] == {"strategy": name, name: defaults}


def test_the_public_api_is_sorted_and_real() -> None:
    assert list(embedwell.__all__) == sorted(embedwell.__all__)
    assert all(hasattr(embedwell, name) for name in embedwell.__all__)


def test_what_a_public_struct_has_is_public_too() -> None:
    public = vars(embedwell) | {"Rows": Any}  # numpy's
    structs = [
        kind
        for kind in map(public.get, embedwell.__all__)
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct)
    ]
    hidden = {
        f"{kind.__name__}.{name}: {part.__name__}"
        for kind in structs
        for name, hint in get_type_hints(kind, localns=public).items()
        for part in _parts(hint)
        if part.__module__.startswith("embedwell.") and public.get(part.__name__) is not part
    }
    assert len(structs) > 30
    assert hidden == set()


def _parts(hint: Any) -> Iterator[type]:
    """The classes in an annotation, those of a call's arguments too."""
    if isinstance(hint, type) and not get_args(hint):
        yield hint
    for part in hint if isinstance(hint, list) else get_args(hint):
        yield from _parts(part)


def test_the_architecture_names_every_room() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    listed = set(re.findall(r"\w+", text.split("## Rooms")[1].split("```")[1]))
    modules = {path.stem for path in (ROOT / "core/src/embedwell").iterdir()}
    assert {name for name in modules if name[0] != "_"} - {"py"} - listed == set()


def test_the_readme_names_targets_that_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)", (ROOT / "README.md").read_text(), re.M):
        assert re.search(rf"^{target}:", makefile, re.M), target


def test_the_clients_that_were_tried_are_named_with_their_versions() -> None:
    clients = ROOT / "tests" / "e2e" / "clients"
    pinned = [
        tuple(line.split("=="))
        for path in clients.glob("*/requirements.txt")
        for line in path.read_text().split()
    ]
    for path in clients.glob("*/package.json"):
        pinned += json.loads(path.read_text())["dependencies"].items()
    assert len(pinned) >= 9
    text = " ".join((ROOT / "CONTRIBUTING.md").read_text().split())
    assert [pin for pin in pinned if f"`{pin[0]}` {pin[-1]}" not in text] == []


def test_files_are_not_too_long() -> None:
    sources = [*ROOT.glob("core/src/**/*.py"), *ROOT.glob("*/*/src/**/*.py")]
    long = [str(p) for p in sources if len(p.read_text().splitlines()) > 400]
    assert long == []


def test_metadata_and_requirements_name_every_member() -> None:
    members = sorted(p.parent.relative_to(ROOT) for p in ROOT.glob("*/*/pyproject.toml"))
    required = (ROOT / "requirements.txt").read_text()
    for member in members:
        assert f"-e ./{member}" in required
