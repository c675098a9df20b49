"""Tables, variables and files to digests, and why not."""

import logging
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from embedwell import Invalid
from embedwell.config.schema import Config as ServerConfig
from embedwell.errors import ConfigurationError
from embedwell.loader.load import load
from embedwell_plugin_auth import digests
from embedwell_plugin_auth.config import Config, Key, Reference
from embedwell_plugin_auth.references import resolve
from tests.plugins.auth.some_keys import USER, table, tables

ROOT = Path(__file__).parents[3]
DIGEST = digests.written(USER)
UPPER = f"sha256:{DIGEST[7:].upper()}"


def configured(plugins: Mapping[str, Any]) -> Config:
    loaded = load(ServerConfig(plugins=dict(plugins)))
    (config,) = [item.config for item in loaded.plugins if item.spec.name == "auth"]
    assert isinstance(config, Config)
    return config


def test_without_a_table_it_is_unused_and_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    plugins = load(ServerConfig())
    assert "auth" not in [item.spec.name for item in plugins.plugins]
    (info,) = [info for info in plugins.infos if info.name == "auth"]
    assert info.state == "unused"
    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []


def test_a_table_has_defaults() -> None:
    key = configured({"auth": {"keys": {"a": {"key": DIGEST}}}}).keys["a"]
    assert (key.scopes, key.requests_per_minute, key.tokens_per_minute) == (("embed",), 0, 0)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({}, "plugins.auth.keys: required, but missing"),
        ({"keys": {}}, "keys: 0, not 1 to 1,000: each is a table [plugins.auth.keys.NAME]"),
        ({"keys": {"a": {"key": USER}}}, "keys.a.key: a key itself does not stand in"),
        (
            {"keys": {"a": {"key": DIGEST[:-1]}}},
            "keys.a.key: a digest is sha256: and 64 hexadecimal digits",
        ),
        ({"keys": {"a": {"key": {}}}}, "keys.a.key: name one place"),
        ({"keys": {"a": {"key": {"env": "A", "file": "b"}}}}, "keys.a.key: name one place"),
        ({"keys": {"a": {"key": {"env": "A B"}}}}, "plugins.auth.keys.a.key: expected"),
        (
            {"keys": {"a": {"key": {"url": "x"}}}},
            "plugins.auth.keys.a.key: object contains unknown",
        ),
        (
            {"keys": {"a": {"kei": DIGEST}}},
            'plugins.auth.keys.a.kei: unknown key; did you mean "key"?',
        ),
        ({"keys": {"a": USER}}, "plugins.auth.keys.a: expected a table"),
        ({"keys": {"a": {"key": DIGEST, "scopes": []}}}, "keys.a.scopes: empty"),
        ({"keys": {"a": {"key": DIGEST, "scopes": ["all"]}}}, "keys.a.scopes: 'all' is none of"),
        (
            {"keys": {"a": {"key": DIGEST, "requests_per_minute": -1}}},
            "plugins.auth.keys.a.requests_per_minute: expected int >= 0",
        ),
        ({"keys": {"a b": {"key": DIGEST}}}, "keys: 'a b' cannot be a name"),
        ({"keys": {f"k{i}": {"key": DIGEST} for i in range(1001)}}, "keys: 1001, not 1 to"),
        ({"key": USER}, 'plugins.auth.key: unknown key; did you mean "keys"?'),
    ],
)
def test_faults_are_told_and_keys_are_not(given: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        configured({"auth": given})
    said = str(caught.value)
    assert reason in said
    assert USER not in said


def test_all_faults_at_once() -> None:
    given = {
        "a": {"key": USER, "scopes": ["x"]},
        "b": {"key": USER},
        "c": {"key": DIGEST, "tokens_per_minute": "many"},
        "d": {},
    }
    with pytest.raises(ConfigurationError) as caught:
        configured({"auth": {"keys": given}})
    found = [reason.split(": ")[0] for reason in caught.value.reasons]
    below = ("a.key", "a.scopes", "b.key", "c.tokens_per_minute", "d.key")
    assert found == [f"plugins.auth.keys.{path}" for path in below]


def test_neither_key_nor_digest_is_in_a_repr() -> None:
    key = configured(tables(a=table(USER))).keys["a"]
    assert DIGEST.removeprefix("sha256:") not in repr(key)


def one(key: str | Reference, environ: Mapping[str, str] | None = None) -> bytes:
    return resolve({"a": Key(key)}, environ or {})["a"]


def test_a_key_is_the_same_from_everywhere(tmp_path: Path) -> None:
    wanted = digests.digest(USER.encode())
    for content in (USER, f"{USER}\n", DIGEST, UPPER):
        file = tmp_path / "key"
        file.write_text(content)
        file.chmod(0o600)
        assert one(Reference(file=str(file))) == wanted
        assert one(Reference(env="K"), {"K": content}) == wanted
    assert one(DIGEST) == one(UPPER) == wanted


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("", "the environment variable K is not set"),
        ("short-key-0123456789abcdefghijk", "not a key that is hard to guess: take 32 to 1,000"),
        ("ab" * 16, "not a key that is hard to guess"),
        ("x y" + USER, "not a key that is hard to guess"),
        ("é" + USER, "not a key that is hard to guess"),
        ("sha256:" + "0" * 63, "a digest is sha256: and 64 hexadecimal digits"),
        ("SHA256:" + "0" * 64, "a digest is sha256: and 64 hexadecimal digits"),
    ],
)
def test_a_key_that_could_be_guessed_is_refused_and_not_shown(key: str, reason: str) -> None:
    with pytest.raises(Invalid) as caught:
        one(Reference(env="K"), {"K": key})
    assert caught.value.message.startswith(f"plugins.auth.keys.a.key: {reason}")
    assert not key or key not in caught.value.message


def test_every_reason_at_once() -> None:
    with pytest.raises(Invalid) as caught:
        resolve({"a": Key(Reference(env="A")), "b": Key(Reference(env="B"))}, {})
    assert "keys.a.key: " in caught.value.message
    assert "keys.b.key: " in caught.value.message


def test_two_names_cannot_have_one_key() -> None:
    with pytest.raises(Invalid, match=r'keys.b.key: the same key as "a" has'):
        resolve({"a": Key(DIGEST), "b": Key(Reference(env="B"))}, {"B": USER})


def test_a_file_that_is_not_there_or_none_of_ours(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"keys.a.key: .*nothing cannot be read: No such file"):
        one(Reference(file=str(tmp_path / "nothing")))
    (tmp_path / "binary").write_bytes(b"\xff\x00" * 40)
    with pytest.raises(Invalid, match="has no key: not ASCII"):
        one(Reference(file=str(tmp_path / "binary")))


def test_a_file_that_everybody_can_read_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "key"
    file.write_text(USER)
    for mode, warnings in ((0o640, 0), (0o644, 1)):
        file.chmod(mode)
        one(Reference(file=str(file)))
        assert caplog.text.count('can read the file of the key "a": chmod o-r') == warnings
    assert USER not in caplog.text


def test_the_command_makes_a_key_that_its_own_lines_let_in() -> None:
    command = [sys.executable, "-m", "embedwell_plugin_auth", "new", "ci"]
    said = [
        subprocess.run(words, check=True, capture_output=True, text=True).stdout
        for words in (command, [*command, "--scopes", "manage", "metrics"])
    ]
    keys = [re.findall(r"^    (ew-\S+)$", text, re.M) for text in said]
    assert len({key for (key,) in keys}) == 2
    for text, (key,), scopes in zip(said, keys, (("embed",), ("manage", "metrics")), strict=True):
        config = configured(tomllib.loads(text[text.index("    [plugins") :])["plugins"])
        assert config.keys["ci"].scopes == scopes
        assert resolve(config.keys, {})["ci"] == digests.read(key)
    bad = subprocess.run([*command[:-1], "a b"], check=False, capture_output=True, text=True)
    assert (bad.returncode, "use letters, digits" in bad.stderr) == (2, True)


def examples() -> list[str]:
    readme = (ROOT / "plugins/auth/README.md").read_text()
    reference = (ROOT / "config.toml").read_text()
    commented = reference[reference.index("# [plugins.auth") :].replace("…", "0" * 64)
    return [
        *re.findall(r"```toml\n(.*?)```", readme, re.S),
        re.sub("^# ", "", commented, flags=re.M),
    ]


@pytest.mark.parametrize("text", examples())
def test_examples_are_taken(text: str) -> None:
    assert configured(tomllib.loads(text)["plugins"]).keys


def test_the_reference_file_shows_every_setting() -> None:
    (key,) = tomllib.loads(examples()[-1])["plugins"]["auth"]["keys"].values()
    assert set(key) == set(Key.__struct_fields__)
