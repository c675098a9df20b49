"""What a published model and the files in it may be called, on any operating system."""

import re

from embedwell.errors import Invalid, InvalidModel
from embedwell.models import tag

MAX_FILES = 1_000
MAX_DEPTH = 8
MAX_PART = 255
ROUTES = {"upload", "github", "huggingface"}  # they are paths below /models
_DEVICE = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9]) *(?:\..*)?", re.IGNORECASE)
_PART = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._ +()=,@-]*[A-Za-z0-9_+()=,@-])?")
_SOURCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,95}")
_STRAYS = {".cache", ".ds_store", ".git", ".gitattributes", ".gitignore", "__macosx", "thumbs.db"}


def check_publishable(name: str) -> None:
    """Raises Invalid for the field `model` unless a model may be published as `name`."""
    ref = tag.parse(name)
    if ref.source is not None or ref.revision is not None:
        raise _unusable(name, "expected 'name' or 'owner/name', without a source or a revision")
    if name.casefold() in ROUTES:
        raise _unusable(name, "this name is a route of the server's own")
    for segment in name.split("/"):
        if _DEVICE.fullmatch(segment):
            raise _unusable(name, f"'{segment}' is a device on some systems")
        if segment.endswith("."):
            raise _unusable(name, "a part must not end with '.'")
        if ".." in segment:
            raise _unusable(name, "'..' must not occur in it")


def check_revision(revision: str) -> str:
    """The revision, if a client can ask for it; raises Invalid for the field `revision`."""
    try:
        if tag.parse(f"x@{revision}").revision == revision:
            return revision
    except Invalid:
        pass
    raise Invalid(
        "Not a revision: use 1 to 128 letters, digits and '._/-', without '..'", param="revision"
    )


def check_source(source: str) -> None:
    """Raises Invalid for a source whose name cannot be a folder's."""
    if not _SOURCE.fullmatch(source) or _DEVICE.fullmatch(source):
        raise Invalid("Not a source's name: use letters, digits, '_' and '-'", param="source")


def check_file(name: str) -> str:
    """The name of a model's file, '/'-separated, relative, normalised; raises InvalidModel."""
    if not name or name.startswith("/"):
        raise _refused(name, "names must be relative")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if not parts:
        raise _refused(name, "it names no file")
    if len(parts) > MAX_DEPTH:
        raise _refused(name, f"it is more than {MAX_DEPTH} folders deep")
    for part in parts:
        _check_part(name, part)
    return "/".join(parts)


def stray(name: str) -> bool:
    """Whether it belongs to git, a file manager or a download tool, and is to be passed over."""
    parts = name.casefold().split("/")
    return any(part in _STRAYS or part.startswith("._") for part in parts)


class FileNames:
    """The files of one model: not too many, and no two that a system would take for one."""

    def __init__(self) -> None:
        self._files: set[str] = set()
        self._folders: set[str] = set()
        self._spelled: dict[str, str] = {}

    def add(self, name: str) -> str:
        """The name, normalised; one that was added before is no fault. Raises InvalidModel."""
        path = check_file(name)
        folders = {"/".join(path.split("/")[:depth]) for depth in range(1, path.count("/") + 1)}
        for spelled in (*folders, path):
            self._claim(spelled)
        self._files.add(path)
        self._folders |= folders
        if not self._files.isdisjoint(self._folders):
            raise _refused(path, "it, or what it is in, is both a file and a folder")
        if len(self._files) > MAX_FILES:
            raise InvalidModel(f"It has more than {MAX_FILES:,} files")
        return path

    def _claim(self, spelled: str) -> None:
        other = self._spelled.setdefault(spelled.casefold(), spelled)
        if other != spelled:
            raise _refused(spelled, f"it differs from '{_shown(other)}' only in case")


def _check_part(name: str, part: str) -> None:
    if len(part.encode(errors="replace")) > MAX_PART:
        raise _refused(name, f"a part is longer than {MAX_PART} bytes")
    if part == "..":
        raise _refused(name, "it leads out of the model")
    if _DEVICE.fullmatch(part):
        raise _refused(name, "it is a device on some systems")
    if not _PART.fullmatch(part):
        raise _refused(
            name, "use letters, digits and '._ +()=,@-', not ending with a dot or a space"
        )


def _unusable(name: str, why: str) -> Invalid:
    return Invalid(f"Not a name to publish under: '{name}': {why}", param="model")


def _refused(name: str, why: str) -> InvalidModel:
    return InvalidModel(f"File name not accepted: '{_shown(name)}': {why}")


def _shown(name: str) -> str:
    shown = ascii(name[:101])[1:-1]
    return shown if len(shown) <= 100 else f"{shown[:97]}..."
