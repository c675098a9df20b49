"""Routes as data: who may call, what comes in, what goes out."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal

from msgspec import Struct

from embedwell.interfaces.plugins import Caller, RequestHead

Access = Literal["public", "embed", "manage", "metrics"]
Asgi = Callable[[Any, Any, Any], Awaitable[None]]


class Request(Struct, frozen=True, kw_only=True):
    """What a handler gets.

    `args` are the path's variables, decoded. `body` is the Route's Struct, or, where the Route
    streams, an async iterator of bytes. `timeout` is what is left of the deadline in seconds.
    """

    head: RequestHead
    args: Mapping[str, str]
    query: Mapping[str, str]
    body: Any
    request_id: str
    timeout: float
    caller: Caller | None = None


class Reply(Struct, frozen=True, kw_only=True):
    """What a handler returns: bytes as they are, anything else as JSON."""

    body: Any
    status: int = 200
    content_type: str = "application/json"
    headers: Mapping[str, str] = {}
    model: str = ""  # this and what follows are for the log and RequestFinished
    inputs: int = 0
    tokens: int = 0


Handler = Callable[[Request], Awaitable[Reply]]


class Route(Struct, frozen=True, kw_only=True):
    """One method and path; `<tag>` in a path takes a model tag, slashes included.

    `body` is the Struct that decodes it, `stream=True` hands the bytes over as they come,
    neither means no body. A Struct whose fields are all optional may be left out. A stream is bound
    by limits of its own, not by the server's deadline. `max_body` is in bytes; None takes the
    server's limit. For the OpenAPI page, `accepts` are the content types of a stream, `form` a
    Struct that a multipart stream looks like, `query` the query's fields with what they mean,
    `headers` the same of a success; `replies` maps a status to the Struct (or content type) of
    its body (200 if empty), `errors` are the codes it may answer beside those that every route may.
    """

    method: str
    path: str
    handler: Handler
    access: Access
    summary: str
    body: type[Any] | None = None
    stream: bool = False
    accepts: tuple[str, ...] = ("application/octet-stream",)
    query: Mapping[str, str] = {}
    form: type[Any] | None = None
    headers: Mapping[str, str] = {}
    max_body: int | None = None
    replies: Mapping[int, Any] = {}
    errors: tuple[str, ...] = ()


class Mount(Struct, frozen=True, kw_only=True):
    """An ASGI application below a prefix, behind the same middleware."""

    prefix: str
    app: Asgi
    access: Access
