"""Models as sources know them: references, snapshots, manifests, and the Source itself."""

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeVar

from msgspec import Struct

from embedwell.errors import ReadOnly

if TYPE_CHECKING:
    from embedwell.interfaces.routes import Mount, Route
    from embedwell.interfaces.services import BaseServices

C = TypeVar("C", bound=Struct)

SEGMENT = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
SOURCE_NAME = r"[A-Za-z0-9][A-Za-z0-9_-]{0,95}"
REVISION = r"[A-Za-z0-9._/-]{1,128}"  # without ".."
TAG_PATTERN = rf"^({SOURCE_NAME}:)?{SEGMENT}(/{SEGMENT})?(@{REVISION})?$"  # for JSON Schema


class ModelRef(Struct, frozen=True):
    """What a client asks for: a tag taken apart (`[source:]name[@revision]`)."""

    name: str
    revision: str | None = None
    source: str | None = None

    def __str__(self) -> str:
        prefix = f"{self.source}:" if self.source else ""
        suffix = f"@{self.revision}" if self.revision else ""
        return f"{prefix}{self.name}{suffix}"

    def names(self, key: "ModelKey") -> bool:
        """Whether it means this model; without a revision, or a source, any will do."""
        return (
            self.name == key.name
            and self.revision in (None, key.revision)
            and self.source in (None, key.source)
        )


class ModelKey(Struct, frozen=True):
    """Which model it is, immutably: the revision is a commit or a content digest."""

    source: str
    name: str
    revision: str

    def __str__(self) -> str:
        return f"{self.source}:{self.name}@{self.revision}"


class Snapshot(Struct, frozen=True):
    """A complete local directory that never changes.

    `digest` is the sha256 of its content, by which measurements are remembered. The registry
    asks the source again after `fresh_for` seconds.
    """

    path: Path
    key: ModelKey
    digest: str
    fresh_for: float = 1.0

    @classmethod
    def of_folder(cls, path: str | Path, source: str, name: str) -> "Snapshot":
        """A folder as a snapshot, its revision being its content.

        Reads every file, so call it in a thread; raises OSError where it cannot.
        """
        folder = Path(path)
        digest = _folder_digest(folder)
        return cls(folder, ModelKey(source, name, digest), digest)


def _folder_digest(folder: Path) -> str:
    found: dict[str, str] = {}
    for file in (p for p in folder.rglob("*") if p.is_file()):
        status = file.stat()
        signature = (status.st_ino, status.st_size, status.st_mtime_ns)
        found[file.relative_to(folder).as_posix()] = _file_digest(str(file), signature)
    return content_digest(found)


def content_digest(files: Mapping[str, str]) -> str:
    """What a model's content is known by: sha256 over each path and its file's sha256, sorted."""
    total = hashlib.sha256()
    for path in sorted(files):
        total.update(f"{path}\0{files[path]}\0".encode())
    return total.hexdigest()


@lru_cache(maxsize=4096)  # a memo keyed by what identifies the content; holds no state of any app
def _file_digest(path: str, signature: tuple[int, int, int]) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Progress(Protocol):
    """Called with bytes done, and bytes in all where known; safe on the loop only."""

    def __call__(self, done: int, total: int | None) -> None: ...


class Fetch(Struct, frozen=True):
    """A model that its source can bring: the registry runs `run` as a task, once per key."""

    key: ModelKey
    run: Callable[[Progress], Awaitable[Snapshot]]
    size: int | None = None


Pool = Literal["mean", "cls", "max", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"]


class Pooling(Struct, frozen=True, tag="pooling"):
    """Token rows to one row; several modes are concatenated in this order."""

    modes: tuple[Pool, ...]
    include_prompt: bool = True


class Dense(Struct, frozen=True, tag="dense"):
    """A linear layer on the pooled row; `folder` holds its weights, below the snapshot."""

    folder: str
    inputs: int
    outputs: int
    bias: bool
    activation: Literal["identity", "tanh", "relu", "gelu", "sigmoid"]
    weights: str = "model.safetensors"


class Normalize(Struct, frozen=True, tag="normalize"):
    """Rows to unit length (L2)."""


class Manifest(Struct, frozen=True, kw_only=True):
    """What a snapshot's own files say of it, read by allowlist and without torch.

    `config` is the transformers configuration without anything that could name code.
    `max_tokens` counts special tokens. `positions` is the length of the position table, None
    where positions are computed. `bytes` are the tensors' as they are stored, `tensors` their
    element count, so that bytes at any load dtype can be worked out.
    """

    folder: str  # of the transformer, below the snapshot; "" is the snapshot itself
    config: dict[str, Any]
    model_type: str
    dimensions: int
    max_tokens: int
    vocabulary: int
    positions: int | None
    hidden: int
    intermediate: int
    layers: int
    heads: int
    modules: tuple[Pooling | Dense | Normalize, ...]
    prompts: dict[str, str]
    default_prompt: str | None
    lowercase: bool
    truncation_side: Literal["left", "right"]
    empty_token: int | None  # fed for a text without tokens
    prompt_closers: tuple[int, ...]  # ids that end a prompt tokenised alone: not part of it
    tensors: int
    bytes: int
    created: int  # Unix seconds

    @property
    def normalizes(self) -> bool:
        """Whether the model's own modules end with unit-length rows."""
        return bool(self.modules) and isinstance(self.modules[-1], Normalize)


class Source:
    """Brings models. Only `resolve` must be written; it runs on the event loop.

    `resolve` returns None for a tag that is not this source's, and raises when the tag is its
    own and it failed: that stops the chain, for a source below might hold a squatter.
    """

    def __init__(self, config: Any, services: "BaseServices") -> None:
        self.config = config
        self.services = services

    async def resolve(self, ref: ModelRef) -> Snapshot | Fetch | None:
        """The snapshot, a way to fetch it, or None; raises SourceError where it failed."""
        raise NotImplementedError(f"{type(self).__name__} must define resolve()")

    async def models(self) -> Sequence[Snapshot]:
        """Complete local models, for listings; never asks the network."""
        return ()

    async def delete(self, ref: ModelRef) -> Sequence[str] | None:
        """Forget a model; by default a source cannot be changed (ReadOnly).

        Returns the revisions that are gone, None where that is what was asked for: the revision,
        or all that were listed.
        """
        raise ReadOnly(f"Models of this source are read-only: {ref}; remove it where it comes from")

    def routes(self) -> "Sequence[Route | Mount]":
        """Routes of the source's own."""
        return ()

    async def aclose(self) -> None:
        """Free what the source holds; called once, at the end."""


class BlockingSource(Source):
    """A source whose code blocks: write `find` and `list_models`, which run in bounded threads."""

    def find(self, ref: ModelRef) -> Snapshot | Fetch | None:
        """As `Source.resolve`, in a thread."""
        raise NotImplementedError(f"{type(self).__name__} must define find()")

    def list_models(self) -> Sequence[Snapshot]:
        """As `Source.models`, in a thread."""
        return ()

    async def resolve(self, ref: ModelRef) -> Snapshot | Fetch | None:
        return await self.services.threads.run(self.find, ref)

    async def models(self) -> Sequence[Snapshot]:
        return await self.services.threads.run(self.list_models)


class SourceSpec(Struct, Generic[C], frozen=True, kw_only=True):
    """What `register_sources` returns: `build` is cheap, asks no network and writes nothing."""

    name: str
    summary: str
    priority: int
    config: type[C]
    build: "Callable[[C, BaseServices], Source]"
