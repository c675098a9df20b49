"""What the layers know of one request, from its first byte to its log line."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from msgspec import Struct

from embedwell.http.asgi import Scope
from embedwell.interfaces.plugins import Caller, RequestHead
from embedwell.interfaces.routes import Access, Route

if TYPE_CHECKING:
    from embedwell.http.asgi import App

KEY = "embedwell"
NO_ANSWER = 499  # for the log only: the client left before it was answered
PROBES = ("/health", "/ready", "/metrics")  # asked every few seconds, under any load


class Match(Struct, frozen=True):
    """What a path leads to: a Route with its arguments, or the application of a Mount.

    `path` is decoded and without a trailing slash; `pattern` is the Route's or the Mount's own.
    """

    path: str
    pattern: str
    access: Access
    route: Route | None = None
    args: Mapping[str, str] = {}
    app: "App | None" = None

    @property
    def is_probe(self) -> bool:
        return self.pattern in PROBES


def _nothing(size: int) -> None:
    """Where no permit is asked for."""


class Exchange(Struct, kw_only=True):
    """One request and its answer; each layer fills in its part.

    `started` is on the server's clock. `status` is 0 until an answer began. `gone` says that the
    client has left, `problem` what it was told instead of an answer, `v1` whether the path is
    below `/v1`. Until it is answered `model` is what the client sent, whatever that is. `cover` is
    told how many bytes of the body are held; it raises Overloaded.
    """

    request_id: str
    method: str
    started: float
    v1: bool = False
    match: Match | None = None
    head: RequestHead | None = None
    caller: Caller | None = None
    status: int = 0
    model: str = ""
    inputs: int = 0
    tokens: int = 0
    problem: str = ""
    gone: bool = False
    cover: Callable[[int], None] = _nothing

    @property
    def pattern(self) -> str:
        return self.match.pattern if self.match else ""


def exchange(scope: Scope) -> Exchange:
    """The exchange that the outermost layer put into the scope."""
    found = scope[KEY]
    assert isinstance(found, Exchange)
    return found


def matched(scope: Scope) -> Match:
    """What routing found; only layers inside of it may ask."""
    match = exchange(scope).match
    assert match is not None
    return match
