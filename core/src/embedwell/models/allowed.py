"""Which files a model may consist of: by name, by size, and by how their content begins."""

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from embedwell.errors import InvalidModel
from embedwell.models.documents import LARGE, POINTER, refuse_pointer
from embedwell.models.members import shown
from embedwell.models.names import MAX_DEPTH, FileNames

MAX_ENTRIES = 10_000  # of all folders together
MAX_JSON = 50_000_000
WEIGHTS = ".safetensors"
_TEXTS = (".txt", ".md", ".model", ".jinja", ".bpe", ".tiktoken", ".csv")
_IMAGES = (".png", ".jpg", ".svg")
_ALLOWED = (WEIGHTS, ".json", *_TEXTS, *_IMAGES)
_BARE = re.compile(r"(?:licen[cs]e|notice|readme|copying)(?:[_-][a-z0-9_-]+)?(?:\.rst)?")
_GIT = {".gitattributes", ".gitignore"}
_WEIGHTS = (
    *(".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".npy", ".npz", ".msgpack", ".h5"),
    *(".hdf5", ".keras", ".joblib", ".onnx", ".gguf", ".ggml", ".pb", ".tflite", ".mlmodel", ".ot"),
)
_CODE = (
    *(".py", ".pyc", ".pyi", ".pyd", ".so", ".dll", ".dylib", ".exe", ".ipynb", ".sh", ".bat"),
    *(".ps1", ".js", ".jar", ".class", ".whl", ".egg"),
)
_PICKLE = re.compile(rb"\x80[\x02-\x05]")
_MAGIC = {
    b"PK\x03\x04": "a zip archive (PyTorch packs pickles so)",
    b"\x1f\x8b": "a gzip archive",
    b"\x7fELF": "a program",
    b"\x93NUMPY": "a numpy array",
    b"\x89HDF": "an HDF5 file",
    b"GGUF": "a GGUF file",
}


def files(root: Path) -> list[str]:
    """The names of all files, checked; raises InvalidModel for the first that may not be."""
    found: list[str] = []
    seen = FileNames()
    for entry, name in _entries(root):
        _check_name(name)
        if name.rpartition("/")[2] not in _GIT:
            seen.add(name)
        _check_size(name, entry.stat(follow_symlinks=False).st_size)
        _check_start(root, name)
        found.append(name)
    if not found:
        raise InvalidModel("It has no files")
    return sorted(found)


def _entries(root: Path) -> Iterator[tuple["os.DirEntry[str]", str]]:
    """Regular files, wherever they lie; raises for links, devices, and folders without end."""
    folders, count = [""], 0
    while folders:
        folder = folders.pop()
        if folder.count("/") >= MAX_DEPTH:
            raise InvalidModel(f"Its folders are more than {MAX_DEPTH} deep")
        with os.scandir(root / folder) as entries:
            for entry in entries:
                count += 1
                if count > MAX_ENTRIES:
                    raise InvalidModel(f"It has more than {MAX_ENTRIES:,} files and folders")
                name = folder + entry.name
                mode = entry.stat(follow_symlinks=False).st_mode
                if stat.S_ISDIR(mode):
                    folders.append(f"{name}/")
                elif stat.S_ISREG(mode):
                    yield entry, name
                else:
                    what = "a link" if stat.S_ISLNK(mode) else "neither a file nor a folder"
                    raise InvalidModel(f"'{shown(name)}' is {what}: a model has plain files only")


def _check_name(name: str) -> None:
    base = name.rpartition("/")[2].lower()
    if base.endswith(_ALLOWED) or base in _GIT or _BARE.fullmatch(base):
        return
    if base.endswith(_WEIGHTS):
        raise _refused(name, "remove it; weights must be in the safetensors format")
    if base.endswith(_CODE):
        raise _refused(name, "remove it; no code of a model is run")
    raise _refused(name, f"remove it; a model consists of {', '.join(_ALLOWED)} files")


def _check_size(name: str, size: int) -> None:
    large = name.rpartition("/")[2] == "tokenizer.json" or not name.lower().endswith(".json")
    limit = LARGE if large else MAX_JSON
    if size > limit and not name.lower().endswith(WEIGHTS):
        raise InvalidModel(f"'{shown(name)}' is larger than {limit:,} bytes")


def _check_start(root: Path, name: str) -> None:
    with (root / name).open("rb") as file:
        start = file.read(len(POINTER))
    refuse_pointer(start, name)
    kind = _kind(start)
    # The length of a safetensors header can look like anything; the header itself cannot.
    header = name.lower().endswith(WEIGHTS) and start[8:9] == b"{"
    if kind and not header:
        raise _refused(name, f"it is {kind}, whatever its name says")


def _kind(start: bytes) -> str | None:
    if _PICKLE.match(start):
        return "a pickle"
    return next((kind for magic, kind in _MAGIC.items() if start.startswith(magic)), None)


def _refused(name: str, why: str) -> InvalidModel:
    return InvalidModel(f"'{shown(name)}' is not accepted: {why}")
