"""What the server lends to plugins; the built-in ones use nothing else."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import ParamSpec, Protocol, TypeVar

from msgspec import Struct

from embedwell.interfaces.embedding import Embedder
from embedwell.interfaces.events import Event
from embedwell.interfaces.models import ModelKey, ModelRef, Snapshot
from embedwell.interfaces.status import Readiness, Status
from embedwell.interfaces.store import Store
from embedwell.interfaces.tasks import Tasks

P = ParamSpec("P")
T = TypeVar("T")


class Threads(Protocol):
    """Runs blocking calls in bounded threads."""

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Cancellation leaves the thread to finish by itself."""


class Listed(Struct, frozen=True):
    """A tag in the listing: the snapshot that serves it, and the sources it hides.

    `revisions` are those that its source keeps, the one that serves first. `alias` is the name
    that it is listed by, where that is not its own.
    """

    snapshot: Snapshot
    shadowed: tuple[str, ...] = ()
    alias: str | None = None
    revisions: tuple[str, ...] = ()


class Registry(Protocol):
    """Asks the sources, in order."""

    def open(self, ref: ModelRef) -> AbstractAsyncContextManager[Snapshot]:
        """Fetches if need be. Raises ModelNotFound, SourceError, Loading."""

    async def models(self) -> Sequence[Listed]:
        """One row a tag, complete local models only; no network."""

    async def describe(self, ref: ModelRef) -> Listed:
        """One row, from local state; raises ModelNotFound."""


class BaseServices(Struct, frozen=True, kw_only=True):
    """For sources: `folder` is the plugin's own below the data directory.

    `changed` is to be called with the keys of models that are gone or replaced: answers are
    forgotten, and loaded ones leave when their last request ends. The store does so by itself.
    """

    folder: Path
    store: Store
    tasks: Tasks
    threads: Threads
    changed: Callable[[Sequence[ModelKey]], None]
    emit: Callable[[Event], None]
    clock: Callable[[], float]


class Services(BaseServices, frozen=True, kw_only=True):
    """For plugins: the request path and what the server knows of itself too.

    `ready` may take two seconds, where only the device itself can tell.
    """

    embedder: Embedder
    registry: Registry
    status: Callable[[], Status]
    ready: Callable[[], Awaitable[Readiness]]
