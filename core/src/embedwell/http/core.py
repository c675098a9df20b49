"""What HTTP needs of the rest of the server."""

from collections.abc import Callable, Sequence
from typing import Protocol

from embedwell.config.schema import Server
from embedwell.interfaces.embedding import Embedder
from embedwell.interfaces.events import Event
from embedwell.interfaces.models import ModelRef
from embedwell.interfaces.plugins import Plugin
from embedwell.interfaces.routes import Mount, Route
from embedwell.interfaces.services import Listed, Registry
from embedwell.interfaces.status import Info, ModelCard, PluginInfo, Readiness


class Core(Protocol):
    """The running server as its routes and middleware see it; loop only."""

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

    async def card(self, listed: Listed) -> ModelCard: ...

    async def ready(self) -> Readiness: ...

    def info(self) -> Info: ...

    def plugin_infos(self) -> Sequence[PluginInfo]: ...
