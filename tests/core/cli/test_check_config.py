"""`check-config` says what `serve` would refuse, all of it at once, and changes nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.core.cli.test_commands import run

FAULTY = """
[server]
data_dir = "file/below"
unix_socket = "nowhere/http.sock"
[engine]
device = "cuda"
[cache]
strategy = "lru"
[sources.huggingface]
token = { env = "NOPE" }
[sources.github]
token = { env = "NOPE_EITHER" }
[sources.upload]
max_concurrent = 0
[plugins.auth.keys.first]
key = { file = "no.key" }
[plugins.auth.keys.second]
key = { env = "SHORT" }
"""
REASONS = [
    "server.data_dir: file/below: Not a directory",
    "server.unix_socket: nowhere/http.sock: No such file or directory",
    "engine.device: cuda is asked for",
    'cache.strategy: "lru" is not installed',
    "token: the environment variable NOPE is not set",
    "token: the environment variable NOPE_EITHER is not set",
    "sources.upload.max_concurrent: expected",
    "plugins.auth.keys.first.key: no.key cannot be read: No such file",
    "plugins.auth.keys.second.key: not a key that is hard to guess",
]
SETTINGS = """
from embedwell import BlockingSource, Plugin, PluginSpec, SourceSpec, hookimpl
from msgspec import Struct

class Config(Struct, frozen=True, forbid_unknown_fields=True):
    pass
"""


def install(folder: Path, name: str, source: str) -> dict[str, str]:
    """A plugin as a distribution in `folder`; the environment in which it is found."""
    (folder / f"{name}_plugin.py").write_text(SETTINGS + source)
    info = folder / f"{name}_plugin-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}-plugin\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[embedwell]\n{name} = {name}_plugin\n")
    return {"PYTHONPATH": str(folder)}


def test_every_reason_is_told_at_once_and_nothing_is_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    (tmp_path / "config.toml").write_text(FAULTY)
    before = sorted(tmp_path.rglob("*"))
    done = run(tmp_path, "check-config", SHORT="short")
    assert done.returncode == 2
    assert {reason: done.stderr.count(reason) for reason in REASONS} == dict.fromkeys(REASONS, 1)
    assert "Traceback" not in done.stderr
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("words", [("serve", "--port", "0"), ("check-config",)])
def test_what_a_source_lacks_is_told_by_both(tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "config.toml").write_text('[sources.huggingface]\ntoken = { env = "NOPE" }\n')
    done = run(tmp_path, *words)
    assert done.returncode == 2
    assert "token: the environment variable NOPE is not set" in done.stderr


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ("data_dir = 'file'", "server.data_dir: file: "),
        (f"data_dir = '{'x' * 300}'", "File name too long"),
        ('data_dir = "a\\u0000b"', "null"),
        ("unix_socket = 'file'", "server.unix_socket: file: there is a file that is no socket"),
        ("unix_socket = 'file/x'", "server.unix_socket: file/x: Not a directory"),
        (f"unix_socket = '{'x' * 200}'", "the path is too long"),
        ("data_dir = 'new/below'\nunix_socket = 'x.sock'", ""),
    ],
)
def test_places(tmp_path: Path, settings: str, reason: str) -> None:
    (tmp_path / "file").write_text("not a folder")
    (tmp_path / "config.toml").write_text(f"[server]\n{settings}\n")
    done = run(tmp_path, "check-config")
    assert done.returncode == (2 if reason else 0)
    assert reason in done.stderr


@pytest.mark.parametrize(
    ("variable", "value", "path"),
    [
        ("CACHE_MAX_MODELS", "abc", "cache.fixed_size.max_models: "),
        ("INFERENCE_DEVICE", "cuda", "engine.device: "),
        ("EMBEDWELL_PLUGINS__AUTH__KEYS", '{ a = { key = "x" } }', "plugins.auth.keys.a.key: "),
    ],
)
def test_the_variable_of_a_plugins_setting_is_named(
    tmp_path: Path, variable: str, value: str, path: str
) -> None:
    done = run(tmp_path, "check-config", **{variable: value})
    (line,) = [line for line in done.stderr.splitlines() if path in line]
    assert line.endswith(f"(from {variable})")


def test_nothing_heavy_is_imported_and_nothing_is_made(tmp_path: Path) -> None:
    script = (
        "import sys\nfrom embedwell.cli.main import main\n"
        "try:\n    main(['check-config'])\nexcept SystemExit as end:\n    assert end.code == 0\n"
        "sys.exit(','.join({'torch', 'transformers', 'quart'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert [*tmp_path.iterdir()] == []


def test_a_build_that_asks_the_server_how_it_is_cannot_be_tried(tmp_path: Path) -> None:
    source = """
def build(config, services):
    services.status()

@hookimpl
def register_plugins():
    return [PluginSpec(name="early", summary="", config=Config, build=build)]
"""
    done = run(tmp_path, "check-config", **install(tmp_path, "early", source))
    assert (done.returncode, done.stderr) == (0, "")


def test_a_source_that_fails_is_a_line_for_who_has_no_log(tmp_path: Path) -> None:
    source = """
class Bad(BlockingSource):
    def find(self, ref):
        return None

    def list_models(self):
        raise RuntimeError("no\\nbucket")

@hookimpl
def register_sources():
    return [SourceSpec(name="bad", summary="", priority=1, config=Config, build=Bad)]
"""
    found = install(tmp_path, "bad", source)
    done = run(tmp_path, "models", **found)
    assert done.returncode == 0
    line = "source bad is left out of the listing: RuntimeError: no bucket"
    assert done.stderr.splitlines() == [line]
    assert "Traceback" in run(tmp_path, "models", EMBEDWELL_TRACEBACK="1", **found).stderr
