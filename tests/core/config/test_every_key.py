"""Each key of the configuration: from the environment, of a wrong type, below nothing."""

import json
import typing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from embedwell.config.load import SECTIONS, load, survey

KEYS = [
    (section, field)
    for section, kind in SECTIONS.items()
    for field in msgspec.structs.fields(kind)
    if field.name != "tables"
]
NAMES = [f"{section}.{field.name}" for section, field in KEYS]
EACH = pytest.mark.parametrize(("section", "field"), KEYS, ids=NAMES)
OTHER: dict[str, Any] = {
    "server.host": "0.0.0.0",
    "server.data_dir": "/srv/embedwell",
    "server.log_format": "json",
    "server.unix_socket": "/run/embedwell.sock",
    "server.allowed_hosts": ("a.example",),
    "server.allowed_origins": ("https://a.example",),
    "server.root_path": "/below",
    "server.trusted_proxies": ("10.0.0.0/8",),
    "server.tls_certificate": "a.pem",
    "server.tls_key": "a.pem",
    "engine.device": "cpu",
    "engine.dtype": "float32",
    "cache.strategy": "vram_aware",
    "cache.keep_alive": "10m",
    "sources.on_source_error": "skip",
    "batching.batch_timeout": 17,
}
BESIDE = {  # keys that are refused alone
    "server.host": {"EMBEDWELL_SERVER__ALLOWED_HOSTS": '["*"]'},
    "server.tls_certificate": {"EMBEDWELL_SERVER__TLS_KEY": "a.pem"},
    "server.tls_key": {"EMBEDWELL_SERVER__TLS_CERTIFICATE": "a.pem"},
}


def bare(kind: Any) -> Any:
    return typing.get_args(kind)[0] if hasattr(kind, "__metadata__") else kind


def is_number(field: Any) -> bool:
    return bare(field.type) in (int, float)


def other(name: str, default: Any) -> Any:
    """A value that is not the default."""
    if name in OTHER:
        return OTHER[name]
    if isinstance(default, bool):
        return not default
    return default + 1 if isinstance(default, int | float) else ("some/model",)


def text_of(value: Any) -> str:
    return json.dumps(value) if isinstance(value, tuple) else str(value).lower()


@EACH
def test_the_environment_sets_it(section: str, field: Any) -> None:
    name = f"{section}.{field.name}"
    expected = other(name, field.default)
    variable = f"EMBEDWELL_{section}__{field.name}".upper()
    config = load(None, {variable: text_of(expected)} | BESIDE.get(name, {}), {})
    assert expected != field.default
    assert getattr(getattr(config, section), field.name) == expected


@EACH
def test_a_value_of_a_wrong_type_is_a_reason(tmp_path: Path, section: str, field: Any) -> None:
    path = tmp_path / "config.toml"
    path.write_text(f"[{section}]\n{field.name} = {{ a = 1 }}\n")
    _, reasons = survey(path, {}, {})
    assert any(reason.startswith(f"{section}.{field.name}") for reason in reasons), reasons


@pytest.mark.parametrize(("section", "field"), [pair for pair in KEYS if is_number(pair[1])])
@pytest.mark.parametrize("value", ["-1", "-0.5", "nan", "inf", "1e400", "9" * 30])
def test_numbers_that_cannot_be_are_a_reason(section: str, field: Any, value: str) -> None:
    variable = f"EMBEDWELL_{section}__{field.name}".upper()
    _, reasons = survey(None, {variable: value}, {})
    assert any(reason.startswith(f"{section}.{field.name}: ") for reason in reasons), reasons
    assert all(len(reason) < 300 for reason in reasons)
