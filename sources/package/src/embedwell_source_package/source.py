"""Models inside installed distributions, found by their file lists and never imported."""

import base64
import hashlib
from collections.abc import Sequence
from importlib.metadata import Distribution, PackageNotFoundError, PackagePath, distribution
from pathlib import Path, PurePosixPath

from msgspec import Struct

from embedwell import BaseServices, BlockingSource, ModelKey, ModelRef, Snapshot, SourceError

FOREVER = 3600.0  # seconds until it is asked again: packages do not change under a running server


class Config(Struct, frozen=True, forbid_unknown_fields=True):
    """`[sources.package]`: `models` maps a tag to the distribution that has the model."""

    models: dict[str, str] = {}


class PackageSource(BlockingSource):
    """Serves the one folder of a distribution that has a config.json and safetensors in it."""

    config: Config

    def __init__(self, config: Config, services: BaseServices) -> None:
        super().__init__(config, services)
        self._found: dict[str, Snapshot] = {}

    def find(self, ref: ModelRef) -> Snapshot | None:
        """Raises SourceError for a mapped distribution that is missing or has no model."""
        name = self.config.models.get(ref.name)
        if name is None:
            return None
        if ref.name not in self._found:
            self._found[ref.name] = _snapshot(ref.name, name)
        snapshot = self._found[ref.name]
        return snapshot if ref.revision in (None, snapshot.key.revision) else None

    def list_models(self) -> Sequence[Snapshot]:
        """Those whose distributions are installed."""
        found = []
        for tag in self.config.models:
            try:
                snapshot = self.find(ModelRef(tag))
            except SourceError:
                continue
            if snapshot is not None:
                found.append(snapshot)
        return found


def _snapshot(tag: str, name: str) -> Snapshot:
    try:
        dist = distribution(name)
    except PackageNotFoundError:
        raise SourceError(
            f"{tag} is mapped to the package {name}, which is not installed: pip install {name}"
        ) from None
    files = _model_files(dist, tag, name)
    folder = Path(str(dist.locate_file(_root(files))))
    if any(file.hash is None for file in files):
        whole = Snapshot.of_folder(folder, "package", tag)
        return Snapshot(whole.path, whole.key, whole.digest, FOREVER)
    digest = _digest(files)
    return Snapshot(folder, ModelKey("package", tag, digest), digest, FOREVER)


def _model_files(dist: Distribution, tag: str, name: str) -> list[PackagePath]:
    """The files below the one folder that holds a model."""
    files = [f for f in dist.files or () if "__pycache__" not in f.parts]
    weights = {f.parent for f in files if f.suffix == ".safetensors"}
    with_config = {f.parent for f in files if f.name == "config.json"}
    roots = {folder for folder in weights & with_config if not _inside(folder, weights)}
    if len(roots) != 1:
        count = "no model" if not roots else f"{len(roots)} models"
        raise SourceError(f"{tag}: the package {name} has {count}, exactly one is needed")
    (root,) = roots
    return sorted((f for f in files if f.is_relative_to(root)), key=str)


def _inside(folder: PurePosixPath, others: set[PurePosixPath]) -> bool:
    return any(folder != other and folder.is_relative_to(other) for other in others)


def _root(files: Sequence[PackagePath]) -> PurePosixPath:
    return min((f.parent for f in files if f.name == "config.json"), key=lambda p: len(p.parts))


def _digest(files: Sequence[PackagePath]) -> str:
    """sha256 over the sorted paths and the sha256 that the package's RECORD has of each file."""
    total, root = hashlib.sha256(), _root(files)
    for file in files:
        assert file.hash is not None
        value = base64.urlsafe_b64decode(file.hash.value + "=" * (-len(file.hash.value) % 4))
        total.update(f"{file.relative_to(root).as_posix()}\0".encode() + value)
    return total.hexdigest()
