"""Plugins that extend the server itself: routes, guards, observers."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from msgspec import Struct

if TYPE_CHECKING:
    from embedwell.interfaces.events import Event
    from embedwell.interfaces.routes import Mount, Route
    from embedwell.interfaces.services import Services

C = TypeVar("C", bound=Struct)


class RequestHead(Struct, frozen=True):
    """A request before its body; header names are lower-case."""

    method: str
    path: str
    headers: Mapping[bytes, bytes]
    client: str
    access: str


class Caller(Struct, frozen=True):
    """Who asks, as a guard found out."""

    id: str
    scopes: frozenset[str] = frozenset()


class Plugin:
    """Every method has a default; override what the plugin is for."""

    def __init__(self, config: Any, services: "Services") -> None:
        self.config = config
        self.services = services

    @property
    def guards(self) -> bool:
        """Whether `guard` is to be asked: one that overrides it may still have nothing to ask for.

        Only a plugin that says so keeps strangers out of a server that others can reach.
        """
        return type(self).guard is not Plugin.guard

    def routes(self) -> "Sequence[Route | Mount]":
        """Routes and mounts of the plugin's own."""
        return ()

    async def guard(self, head: RequestHead) -> Caller | None:
        """Runs before the body is read: raise Unauthorized or Forbidden to refuse.

        With `caller=` the log line says whose request that was.
        """
        return None

    def observe(self, event: "Event") -> None:
        """Called on the loop for every event; whatever it raises is logged and goes no further."""

    def lifespan(self) -> AbstractAsyncContextManager[None]:
        """Entered at start, left at the end."""
        return nullcontext()


class PluginSpec(Struct, Generic[C], frozen=True, kw_only=True):
    """What `register_plugins` returns: `build` is cheap, asks no network and writes nothing."""

    name: str
    summary: str
    config: type[C]
    build: "Callable[[C, Services], Plugin]"
