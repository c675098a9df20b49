"""docs/plugins.md does what it says: its plugins are installed, tested and served."""

import importlib
import importlib.util
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import httpx
import pytest
from msgspec import Struct, to_builtins

from embedwell import BlockingSource, Mount, Plugin, PluginSpec, SourceSpec, hookimpl
from embedwell.cli import trial
from embedwell.config.schema import Config
from embedwell.errors import PluginError
from embedwell.interfaces.hooks import Hooks
from embedwell.loader.building import build_source
from embedwell.loader.load import load, survey
from embedwell.loader.origins import Origin
from embedwell.loader.plugins import Registered
from embedwell.testing import FakeBackend, FakeMemory, make_config, make_model_folder, make_services
from embedwell.testing.server import running_server

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "plugins.md").read_text()
README = (ROOT / "README.md").read_text()
FILES: dict[str, str] = dict(re.findall(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", PAGE, re.S))
SOURCE = {
    f"my-source/{name}": text
    for name, text in re.findall(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", README, re.S)
}
TOML: dict[str, str] = dict(re.findall(r"<!-- toml: (\S+) -->\n```toml\n(.*?)```", PAGE, re.S))
PLUGINS = ["my-source", "my-slow", "my-largest", "my-networks"]


def write(folder: Path) -> None:
    """Every plugin of the page, and the README's source, each a folder with its distribution."""
    files = FILES | SOURCE
    for plugin in PLUGINS:
        text = FILES["my-slow/pyproject.toml"].replace("my-slow", plugin)
        files[f"{plugin}/pyproject.toml"] = text.replace("my_slow", plugin.replace("-", "_"))
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


@pytest.fixture
def module(tmp_path: Path) -> Callable[[str], ModuleType]:
    """A module of the page, imported without being installed."""
    write(tmp_path)

    def imported(name: str) -> ModuleType:
        path = tmp_path / name.replace("_", "-") / f"{name}.py"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        made = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(made)
        return made

    return imported


def install(folder: Path, site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As pip does it, without the seconds that pip takes: the README's test has those."""
    backend = importlib.import_module("flit_core.buildapi")
    with monkeypatch.context() as patch:
        patch.chdir(folder)
        wheel = backend.build_wheel(str(folder))
    with zipfile.ZipFile(folder / wheel) as archive:
        archive.extractall(site)


def test_the_tests_of_the_page_pass_once_its_plugins_are_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path)
    site = tmp_path / "site"
    folders = [tmp_path / plugin for plugin in PLUGINS]
    for folder in folders:
        install(folder, site, monkeypatch)
    tests = sorted(name for name in FILES if "/test_" in name)
    assert len(tests) == len(folders)
    found = os.environ.get("PYTHONPATH", "")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider",
         "-c", "my-slow/pyproject.toml", "--rootdir", ".", *tests],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": f"{site}:{found}"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"\d\d passed", done.stdout), done.stdout


async def test_the_strategy_serves_and_the_largest_model_leaves(
    module: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    for name, hidden in (("small", 8), ("large", 64), ("other", 32)):
        make_model_folder(tmp_path / "models" / name, hidden=hidden)
    text = TOML["largest_first"].replace("keep_mb = 100", "keep_mb = 0")
    text = text.replace("\n\n", "\nsafety_margin_gb = 0\n\n", 1)
    config = make_config(tmp_path, f'{text}\n[sources.folder]\nfolder = "{tmp_path / "models"}"')
    backend = FakeBackend(memory=FakeMemory(total=85_000))
    modules = [module("my_largest"), module("my_source")]
    async with (
        running_server(config, modules=modules, backend=backend) as server,
        httpx.AsyncClient(base_url=server.url) as client,
    ):
        for name in ("small", "large", "other"):
            answer = await client.post("/embeddings", json={"model": name, "input": "w1"})
            assert answer.status_code == 200, answer.text
        status = (await client.get("/embeddings/cache/status")).json()
    assert sorted(model["tag"] for model in status["models"]) == ["other", "small"]


@pytest.mark.parametrize(
    ("name", "written"),
    [("largest_first", "my_largest"), ("slow", "my_slow"), ("networks", "my_networks")],
)
def test_its_tables_are_read(
    module: Callable[[str], ModuleType], tmp_path: Path, name: str, written: str
) -> None:
    plugins = load(make_config(tmp_path, TOML[name]), modules=[module(written)])
    (item,) = [i for i in (*plugins.caches, *plugins.plugins) if i.origin.name == written]
    assert item.spec.name == name
    keys = set(re.findall(r"^(\w+) = ", TOML[name], re.M)) - {"strategy"}
    assert set(to_builtins(item.config)) == keys
    assert len(TOML) == 3


def test_its_mount_is_one() -> None:
    (shown,) = re.findall(r"`(Mount\(.*\))`", PAGE)
    assert isinstance(eval(shown, {"Mount": Mount, "page": print}), Mount)


def test_the_hooks_are_named_wherever_plugins_are_described() -> None:
    hooks = [name for name in vars(Hooks) if name.startswith("register_")]
    assert len(hooks) == 3
    for text in (PAGE, (ROOT / "ARCHITECTURE.md").read_text()):
        assert [name for name in hooks if f"`{name}`" not in text] == []
    for text in (README, (ROOT / "CONTRIBUTING.md").read_text()):
        assert "docs/plugins.md" in text


class Loose(Struct, frozen=True):
    pass


class Strict(Struct, frozen=True, forbid_unknown_fields=True):
    pass


class Folder(BlockingSource):
    pass


def _failure(function: Callable[[], Any], name: str = "register_plugins") -> str:
    plugin = SimpleNamespace(__name__="mistaken", **{name: hookimpl(function)})
    (info,) = [i for i in load(Config(), modules=[plugin]).infos if i.name == "mistaken"]
    assert info.state == "failed"
    return (info.problem or "").partition(": ")[2]


async def _asynchronous() -> None: ...


def _spec(config: type[Struct]) -> PluginSpec[Any]:
    return PluginSpec(name="slow", summary="", config=config, build=Plugin)


def _class() -> str:
    (info,) = [i for i in load(Config(), modules=[Folder]).infos if i.name == "Folder"]
    return (info.problem or "").partition(": ")[2]


@pytest.mark.parametrize(
    "told",
    [
        partial(_failure, _asynchronous),
        _class,
        partial(_failure, lambda: _spec(Strict)),
        partial(_failure, lambda: [_spec(Loose)]),
    ],
    ids=["async", "class", "no list", "loose"],
)
def test_what_it_says_of_hooks(told: Callable[[], str]) -> None:
    assert f"| `{told()}` |" in PAGE


def test_what_it_says_of_a_key_that_is_misspelt(
    module: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    config = make_config(tmp_path, "[plugins.slow]\nsecond = 1")
    _, (reason,) = survey(config, modules=[module("my_slow")])
    assert f"| `{reason}` |" in PAGE


def test_what_check_config_says_of_a_build_that_raises(
    module: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    config = make_config(tmp_path, '[plugins.networks]\nallowed = ["here"]')
    plugins = load(config, modules=[module("my_networks")])
    (reason,) = trial.faults(config, plugins, complete=True)
    assert f"| `{reason.replace('my_networks given', 'my-networks 1.0')}` |" in PAGE


async def test_what_it_says_of_a_source_without_find(tmp_path: Path) -> None:
    spec = SourceSpec(name="folder", summary="", priority=1, config=Strict, build=Folder)
    item = Registered("source", spec, Origin("my-source", "my-source", "1.0"), Strict())
    with pytest.raises(PluginError) as caught:
        build_source(item, make_services(tmp_path))
    assert f"| `{caught.value.message}` |" in PAGE
