"""From the configuration to digests: what it refers to is read once, at the start."""

import logging
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from embedwell import Invalid
from embedwell_plugin_auth import digests
from embedwell_plugin_auth.config import Key, Reference

log = logging.getLogger("embedwell.auth")
LONGEST = 4_096  # bytes of a file with a key


def resolve(keys: Mapping[str, Key], environ: Mapping[str, str]) -> Mapping[str, bytes]:
    """The digest of each key, by its name; raises Invalid with every reason why not."""
    found: dict[str, bytes] = {}
    faults: list[str] = []
    for name, key in keys.items():
        try:
            found[name] = _different(digests.read(_text(name, key.key, environ)), found)
        except ValueError as error:
            faults.append(f"plugins.auth.keys.{name}.key: {error}")
    if faults:
        raise Invalid("; ".join(faults))
    return found


def _different(digest: bytes, others: Mapping[str, bytes]) -> bytes:
    for name, other in others.items():
        if other == digest:
            raise ValueError(f'the same key as "{name}" has: a request could not tell whose it is')
    return digest


def _text(name: str, given: str | Reference, environ: Mapping[str, str]) -> str:
    if isinstance(given, str):
        return given
    if given.file:
        return _file(name, Path(given.file).expanduser())
    text = environ.get(given.env, "").strip()
    if not text:
        raise ValueError(f"the environment variable {given.env} is not set")
    return text


def _file(name: str, path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(LONGEST)
            mode = os.fstat(file.fileno()).st_mode
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    if mode & stat.S_IROTH:
        log.warning('everybody on this machine can read the file of the key "%s": chmod o-r', name)
    try:
        return content.decode("ascii").strip()
    except UnicodeDecodeError:
        raise ValueError(f"{path} has no key: not ASCII") from None
