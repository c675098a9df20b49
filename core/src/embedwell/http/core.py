"""What HTTP needs of the rest of the server."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from embedwell.config.schema import Server
from embedwell.interfaces.embedding import Embedder
from embedwell.interfaces.events import Event
from embedwell.interfaces.models import ModelRef
from embedwell.interfaces.plugins import Plugin
from embedwell.interfaces.routes import Mount, Route
from embedwell.interfaces.services import Listed, Registry
from embedwell.interfaces.status import (
    CacheStatus,
    Cleared,
    Deleted,
    Info,
    ModelCard,
    PluginInfo,
    Readiness,
    Warming,
)
from embedwell.interfaces.tasks import Task, Tasks


class Counted(Protocol):
    """Requests per model and day."""

    def days(self, tag: str) -> Mapping[str, int] | None:
        """By YYYY-MM-DD since it appeared, zeros included; None for a tag never seen."""


class Core(Protocol):
    """The running server as its routes and middleware see it; loop only.

    `in_flight` counts the HTTP requests under way: whoever receives them sets it.
    """

    in_flight: Callable[[], int]

    @property
    def server(self) -> Server: ...

    @property
    def max_inputs(self) -> int:
        """The most inputs that one embeddings request may have."""

    @property
    def embedder(self) -> Embedder: ...

    @property
    def registry(self) -> Registry: ...

    @property
    def tasks(self) -> Tasks: ...

    @property
    def counters(self) -> Counted: ...

    @property
    def plugins(self) -> Sequence[tuple[str, Plugin]]:
        """Plugins whose guards are asked, in this order."""

    @property
    def routes(self) -> Sequence[Route | Mount]:
        """Routes of sources and plugins."""

    @property
    def emit(self) -> Callable[[Event], None]: ...

    @property
    def clock(self) -> Callable[[], float]: ...

    def parse_tag(self, text: str) -> ModelRef:
        """Raises Invalid, with `param` "model"."""

    def canonical(self, ref: ModelRef) -> str:
        """The name that a model is counted under: of an alias, its target's."""

    async def delete(self, ref: ModelRef) -> Deleted:
        """Raises ModelNotFound, ReadOnly, SourceError."""

    async def preload(
        self, refs: Sequence[ModelRef] | None, most: int | None
    ) -> tuple[Task, Sequence[Warming]]:
        """Starts it; `refs` None takes the most used models that are at hand."""

    def cache_status(self) -> CacheStatus: ...

    async def clear(self, refs: Sequence[ModelRef] | None) -> Cleared:
        """Unload these, or all."""

    async def card(self, listed: Listed) -> ModelCard: ...

    async def ready(self) -> Readiness: ...

    def info(self) -> Info: ...

    def plugin_infos(self) -> Sequence[PluginInfo]: ...
