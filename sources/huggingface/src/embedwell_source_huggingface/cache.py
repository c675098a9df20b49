"""Local caches of the Hub: which snapshots in them are complete. Blocks; only reads."""

import hashlib
import json
import logging
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from embedwell import InvalidModel, ModelKey, Snapshot
from embedwell_source_huggingface import folders
from embedwell_source_huggingface.files import INDEX, choose
from embedwell_source_huggingface.folders import repo_folder

log = logging.getLogger("embedwell.source.huggingface")

SOURCE = "huggingface"
FRESH_FOR = 5.0
MAX_FILES = 20_000
MAX_JSON = 20_000_000
COMMIT = re.compile(r"[0-9a-f]{40}")
_FOLDER = re.compile(
    r"models--([A-Za-z0-9][A-Za-z0-9._-]{0,95})--([A-Za-z0-9][A-Za-z0-9._-]{0,95})"
)


class _Known(Struct, frozen=True):
    snapshot: Snapshot
    files: tuple[str, ...]


class LocalCache:
    """Several cache folders as one; the first that has a snapshot serves it.

    The first is the source's own: only there anything is changed.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = tuple(folders)
        self._known: dict[Path, _Known] = {}  # a snapshot never changes, it only may go

    def commit(self, repo: str, revision: str) -> str | None:
        """The commit that a branch or tag was last seen at; a commit is itself."""
        if COMMIT.fullmatch(revision):
            return revision
        for folder in self._folders:
            found = _ref(folder / repo_folder(repo) / "refs" / revision)
            if found and self.at(repo, found):
                return found
        return None

    def at(self, repo: str, commit: str) -> Snapshot | None:
        """The complete snapshot of a commit."""
        for folder in self._folders:
            found = self._complete(folder / repo_folder(repo), repo, commit)
            if found is not None:
                return found
        return None

    def every(self) -> list[Snapshot]:
        """All complete snapshots; of each model the one that `main` names comes first."""
        found: dict[str, Snapshot] = {}
        for repo, folder in self._repositories():
            for commit in _commits(folder):
                snapshot = self._complete(folder, repo, commit)
                if snapshot is not None:
                    found.setdefault(str(snapshot.key), snapshot)
        return list(found.values())

    def place(self, repo: str, commit: str) -> Path:
        """Where the source's own folder has the snapshot, if it has it."""
        return self._folders[0] / repo_folder(repo) / "snapshots" / commit

    def owns(self, snapshot: Snapshot) -> bool:
        """Whether it lies in the source's own folder."""
        return snapshot.path.is_relative_to(self._folders[0])

    def forget(self, snapshot: Snapshot) -> None:
        """It is not found any more, also after a crash."""
        folders.mark(snapshot.path.parents[1], snapshot.key.revision)
        self._known.pop(snapshot.path, None)

    def erase(self, snapshot: Snapshot) -> bool:
        """Remove the files of a forgotten one; False, and nothing done, if it is not."""
        return folders.erase(snapshot.path.parents[1], snapshot.key.revision)

    def revive(self, repo: str, commit: str) -> None:
        """A forgotten commit is wanted again."""
        folders.unmark(self._folders[0] / repo_folder(repo), commit)

    def name(self, repo: str, revision: str, commit: str) -> None:
        """Let a branch or tag name a commit of the own folder."""
        if not COMMIT.fullmatch(revision):
            folders.name(self._folders[0] / repo_folder(repo), revision, commit)

    def sweep(self) -> None:
        """Remove what was forgotten but not erased before the last stop."""
        for folder in sorted(self._folders[0].glob("models--*")):
            for commit in _names(folder / ".deleted"):
                try:
                    folders.erase(folder, commit)
                except OSError as error:
                    why = error.strerror
                    log.warning("files of %s@%s stay on the disk: %s", folder.name, commit, why)

    def _repositories(self) -> Iterator[tuple[str, Path]]:
        for folder in self._folders:
            for name in sorted(_names(folder)):
                parts = _FOLDER.fullmatch(name)
                if parts and "--" not in parts[1] + parts[2]:
                    yield f"{parts[1]}/{parts[2]}", folder / name

    def _complete(self, folder: Path, repo: str, commit: str) -> Snapshot | None:
        path = folder / "snapshots" / commit
        if folders.marked(folder, commit):
            return None
        known = self._known.get(path)
        if known is not None and all((path / name).exists() for name in known.files):
            return known.snapshot
        self._known.pop(path, None)
        files = _files(folder, path, commit)
        if not files:
            return None
        try:
            digest = _digest(path, files)
        except OSError:
            return None
        snapshot = Snapshot(path, ModelKey(SOURCE, repo, commit), digest, FRESH_FOR)
        self._known[path] = _Known(snapshot, files)
        return snapshot


def _files(folder: Path, path: Path, commit: str) -> tuple[str, ...]:
    """What the snapshot needs, if all of it is there, else ()."""
    present = _present(path)
    listed = _listed(folder / "trees" / f"{commit}.json")
    try:
        wanted = choose(present if listed is None else listed, "")
    except InvalidModel:
        return ()
    if not present.issuperset(wanted):
        return ()
    if listed is None and not _plausible(folder, path, commit, present):
        return ()
    return wanted


def _listed(tree: Path) -> set[str] | None:
    """The repository's files as the library noted them; None where it did not."""
    files = _json(tree).get("files")
    return {str(name) for name in files} if isinstance(files, dict) and files else None


def _plausible(folder: Path, path: Path, commit: str, present: set[str]) -> bool:
    """Without a listing: whether modules, and the shards of an index, are all there.

    Other programs fetch single files: only a note that there is no modules.json tells a model
    without one from a model whose pooling was left behind.
    """
    if "modules.json" not in present:
        if not (folder / ".no_exist" / commit / "modules.json").exists():
            return False
    elif not present.issuperset(_module_files(path)):
        return False
    indices = [name for name in present if name.endswith(INDEX)]
    return all(present.issuperset(_shards(path, index)) for index in indices)


def _module_files(path: Path) -> Iterator[str]:
    rows = _json(path / "modules.json").get("", [])
    for row in rows if isinstance(rows, list) else []:
        folder, kind = (
            (str(row.get("path")), str(row.get("type"))) if isinstance(row, dict) else ("", "")
        )
        if kind.endswith((".Pooling", ".Dense")):
            yield f"{folder}/config.json"
        if kind.endswith(".Dense"):
            yield f"{folder}/model.safetensors"


def _shards(path: Path, index: str) -> Iterator[str]:
    places = _json(path / index).get("weight_map")
    single = index.removesuffix(".index.json")
    if (path / single).exists():
        return
    for name in set(places.values()) if isinstance(places, dict) else ():
        yield index.removesuffix(INDEX) + str(name)


def _present(path: Path) -> set[str]:
    found: set[str] = set()
    for folder, _, names in os.walk(path):
        for name in names:
            file = Path(folder) / name
            if file.exists():  # a link may be left without its blob
                found.add(file.relative_to(path).as_posix())
        if len(found) > MAX_FILES:
            return set()
    return found


def _digest(path: Path, files: Sequence[str]) -> str:
    total = hashlib.sha256()
    for name in files:
        file = path / name
        if file.is_symlink():
            content = file.readlink().name  # the cache names blobs by their content
        else:
            with file.open("rb") as opened:
                content = hashlib.file_digest(opened, "sha256").hexdigest()
        total.update(f"{name}\0{content}\0".encode())
    return total.hexdigest()


def _commits(folder: Path) -> list[str]:
    names = sorted(name for name in _names(folder / "snapshots") if COMMIT.fullmatch(name))
    main = _ref(folder / "refs" / "main")
    return sorted(names, key=lambda name: name != main)


def _names(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir()]
    except OSError:
        return []


def _ref(path: Path) -> str | None:
    text = folders.named(path)
    return text if COMMIT.fullmatch(text) else None


def _json(path: Path) -> dict[str, Any]:
    """An object, or a list under ""; {} where it cannot be read."""
    try:
        with path.open("rb") as file:
            value = json.loads(file.read(MAX_JSON))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {"": value}
