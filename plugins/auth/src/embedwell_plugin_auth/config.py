"""The configuration: who has a key, and what each may do."""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated

from msgspec import Meta, Struct

from embedwell_plugin_auth.digests import DIGEST

SCOPES = ("embed", "manage", "metrics")
MOST_KEYS = 1_000  # each request is compared with all of them
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")  # fit for a bare key of TOML, a log, a label
PerMinute = Annotated[int, Meta(ge=0, le=1_000_000_000)]


class Reference(Struct, frozen=True, forbid_unknown_fields=True):
    """Where a key, or its digest, stands: in an environment variable or in a file."""

    env: Annotated[str, Meta(pattern=r"^([A-Za-z_][A-Za-z0-9_]{0,127})?$")] = ""
    file: Annotated[str, Meta(max_length=4_096)] = ""


class Key(Struct, frozen=True, forbid_unknown_fields=True):
    """`[plugins.auth.keys.<name>]`; a limit of 0 is none."""

    key: str | Reference
    scopes: tuple[str, ...] = ("embed",)
    requests_per_minute: PerMinute = 0
    tokens_per_minute: PerMinute = 0

    def __post_init__(self) -> None:
        if faults := [*_faults_of(self)]:
            raise ValueError(*faults)

    def __repr__(self) -> str:
        return f"Key(scopes={self.scopes!r}, key=...)"


class Config(Struct, frozen=True, forbid_unknown_fields=True):
    """`[plugins.auth]`; without keys there is no such table, and nobody is asked for one."""

    keys: dict[str, Key]

    def __post_init__(self) -> None:
        if faults := [*_faults(self.keys)]:
            raise ValueError(*faults)


def _faults(keys: Mapping[str, Key]) -> Iterator[str]:
    if not 1 <= len(keys) <= MOST_KEYS:
        yield f"keys: {len(keys)}, not 1 to {MOST_KEYS:,}: each is a table [plugins.auth.keys.NAME]"
    for name in keys:
        if not NAME.fullmatch(name):
            yield f"keys: {name!r:.80} cannot be a name: use letters, digits, - and _"


def _faults_of(key: Key) -> Iterator[str]:
    if fault := _fault_of_text(key.key):
        yield f"key: {fault}"
    if not key.scopes:
        yield f"scopes: empty: a key may do nothing; say some of {', '.join(SCOPES)}"
    for scope in key.scopes:
        if scope not in SCOPES:
            yield f"scopes: {scope!r:.60} is none of {', '.join(SCOPES)}"


def _fault_of_text(given: str | Reference) -> str:
    if isinstance(given, Reference):
        one_place = bool(given.env) != bool(given.file)
        return "" if one_place else 'name one place, { env = "NAME" } or { file = "PATH" }'
    if DIGEST.fullmatch(given):
        return ""
    if given.lower().startswith("sha256:"):
        return "a digest is sha256: and 64 hexadecimal digits"
    return (
        "a key itself does not stand in a configuration, where many can read it: write "
        'its digest, "sha256:" and 64 hexadecimal digits (printf %s "$KEY" | sha256sum), or '
        'where it is, { env = "NAME" } or { file = "PATH" }'
    )
