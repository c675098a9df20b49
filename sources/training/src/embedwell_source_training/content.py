"""The files that make up the model in a folder, and whether all of them are there and whole."""

import os
import re
import stat
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
from msgspec import Struct

from embedwell_source_training.folders import MAX_ENTRIES, MODULE
from embedwell_source_training.whole import Checked, Signature, Unfinished

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
MAX_MODULES = 16
MAX_SHARDS = 200
MAX_SMALL = 20_000_000
_FOLDER = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9._-]*(?:/[A-Za-z0-9_][A-Za-z0-9._-]*)*)?")
_SHARD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*\.safetensors")
_SETTINGS = re.compile(r"sentence_[a-z-]{1,30}_config\.json")
_TOKENIZER = ("tokenizer_config.json", "special_tokens_map.json")
_NEEDED = ("config.json", "tokenizer.json")


class File(Struct, frozen=True):
    """A file of the model, '/'-separated below its folder, and what tells it from a later one."""

    name: str
    signature: Signature


class Content(Struct, frozen=True):
    """A complete model: `files` in the order of their names, nothing else of the folder."""

    folder: Path
    files: tuple[File, ...]

    @property
    def changed(self) -> float:
        """When a file was last written or moved here, in Unix seconds."""
        return max(file.signature.changed for file in self.files)


def read(folder: Path, checked: Checked) -> Content:
    """Raises Unfinished with the reason, or OSError where a file may not be read."""
    found = _Model(folder, checked)
    files = sorted(found.collect().items(), key=lambda item: PurePosixPath(item[0]))
    return Content(folder, tuple(File(name, signature) for name, signature in files))


class _Model:
    """One look at a folder."""

    def __init__(self, root: Path, checked: Checked) -> None:
        self._root = root
        self._checked = checked
        self._seen: dict[str, dict[str, Signature]] = {}
        self._chosen: dict[str, Signature] = {}

    def collect(self) -> dict[str, Signature]:
        modules = self._modules()
        body = modules[0][1] if modules else ""
        self._body(body)
        for kind, folder in modules[1:]:
            self._module(kind, folder)
        for name in ("modules.json", "config_sentence_transformers.json"):
            if name in self._files(""):
                self._json("", name)
        return self._chosen

    def _modules(self) -> list[tuple[str, str]]:
        """Kind and folder of each row of modules.json."""
        if "modules.json" not in self._files(""):
            self._refuse_lost_modules()
            return []
        rows = self._document("modules.json")
        if not isinstance(rows, list) or not 1 <= len(rows) <= MAX_MODULES:
            raise Unfinished("modules.json is no list of modules")
        return [self._row(row) for row in rows]

    def _row(self, row: Any) -> tuple[str, str]:
        kind, folder = (row.get("type"), row.get("path", "")) if isinstance(row, dict) else (0, 0)
        if not isinstance(kind, str) or not isinstance(folder, str):
            raise Unfinished("modules.json has a module without type or path")
        if len(folder) > 500 or not _FOLDER.fullmatch(folder):
            raise Unfinished("modules.json names a folder outside of the model")
        return kind.rpartition(".")[2], folder

    def _refuse_lost_modules(self) -> None:
        """sentence-transformers writes modules.json last; without it the pooling is unknown."""
        signs = [name for name in self._files("") if _SETTINGS.fullmatch(name)]
        signs += [name for name in self._files("") if name == "config_sentence_transformers.json"]
        with os.scandir(self._root) as entries:
            signs += [entry.name for entry in entries if MODULE.fullmatch(entry.name)]
        if signs:
            raise Unfinished(f"modules.json is missing, but {min(signs)} is there")

    def _body(self, folder: str) -> None:
        there = self._files(folder)
        for name in _NEEDED:
            self._json(folder, name)
        for name in there:
            if name in _TOKENIZER or _SETTINGS.fullmatch(name):
                self._json(folder, name)
        if SINGLE in there:
            self._weights(folder, SINGLE)
        else:
            self._shards(folder)

    def _shards(self, folder: str) -> None:
        if INDEX not in self._files(folder):
            raise Unfinished(f"{_below(folder, SINGLE)} is missing")
        self._json(folder, INDEX)
        index = self._document(_below(folder, INDEX))
        places = index.get("weight_map") if isinstance(index, dict) else None
        names = set(map(str, places.values())) if isinstance(places, dict) else set()
        if not 1 <= len(names) <= MAX_SHARDS or not all(map(_SHARD.fullmatch, names)):
            raise Unfinished(f"{_below(folder, INDEX)} names no shards")
        for name in sorted(names):
            self._weights(folder, name)

    def _module(self, kind: str, folder: str) -> None:
        if kind in ("Pooling", "Dense") or "config.json" in self._files(folder):
            self._json(folder, "config.json")
        if kind == "Dense" or SINGLE in self._files(folder):
            self._weights(folder, SINGLE)

    def _json(self, folder: str, name: str) -> None:
        signature = self._choose(folder, name)
        self._checked.json(self._root / folder / name, _below(folder, name), signature)

    def _weights(self, folder: str, name: str) -> None:
        signature = self._choose(folder, name)
        self._checked.safetensors(self._root / folder / name, _below(folder, name), signature)

    def _choose(self, folder: str, name: str) -> Signature:
        signature = self._files(folder).get(name)
        if signature is None:
            raise Unfinished(f"{_below(folder, name)} is missing")
        self._chosen[_below(folder, name)] = signature
        return signature

    def _files(self, folder: str) -> dict[str, Signature]:
        if folder not in self._seen:
            self._seen[folder] = self._scan(folder)
        return self._seen[folder]

    def _scan(self, folder: str) -> dict[str, Signature]:
        """Regular files; a link, and what lies behind one, is not there."""
        at = self._root
        for part in PurePosixPath(folder).parts:
            at = at / part
            if at.is_symlink():
                return {}
        try:
            with os.scandir(at) as entries:
                files = [
                    (e.name, e.stat(follow_symlinks=False)) for e in islice(entries, MAX_ENTRIES)
                ]
        except (FileNotFoundError, NotADirectoryError):
            return {}
        return {name: Signature.of(s) for name, s in files if stat.S_ISREG(s.st_mode)}

    def _document(self, name: str) -> Any:
        try:
            with (self._root / name).open("rb") as file:
                return msgspec.json.decode(file.read(MAX_SMALL))
        except FileNotFoundError:
            raise Unfinished(f"{name} is missing") from None
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise Unfinished(f"{name} is not valid JSON") from None


def _below(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name
