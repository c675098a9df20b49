"""Health, readiness, and what the server says of itself."""

from collections.abc import Callable, Sequence
from typing import Any

from embedwell.errors import Draining, Loading
from embedwell.http.core import Core
from embedwell.http.wire import Health, PluginList
from embedwell.interfaces.routes import Access, Reply, Request, Route
from embedwell.interfaces.status import Info


def routes(core: Core, draining: Callable[[], bool]) -> Sequence[Route]:
    """What an operator and a load balancer ask."""

    async def health(request: Request) -> Reply:
        return Reply(body=Health("ok"))

    async def ready(request: Request) -> Reply:
        if draining():
            raise Draining("Not ready: the server is stopping")
        readiness = await core.ready()
        if not readiness.ready:
            raise Loading(f"Not ready: {readiness.reason or 'no reason is known'}", retry_after=1)
        return Reply(body=Health("ready"))

    async def info(request: Request) -> Reply:
        return Reply(body=core.info())

    async def plugins(request: Request) -> Reply:
        return Reply(body=PluginList(core.plugin_infos()))

    not_ready = ("LOADING", "DRAINING")
    return [
        _get("/health", health, "public", "Whether the process answers", body=Health),
        _get(
            "/ready",
            ready,
            "public",
            "Whether requests would be served",
            body=Health,
            errors=not_ready,
        ),
        _get("/info", info, "embed", "Version, device, sources, limits", body=Info),
        _get(
            "/plugins", plugins, "manage", "Every installed plugin and its state", body=PluginList
        ),
    ]


def _get(
    path: str, handler: Any, access: Access, summary: str, *, body: type, errors: Sequence[str] = ()
) -> Route:
    return Route(
        method="GET",
        path=path,
        handler=handler,
        access=access,
        summary=summary,
        replies={200: body},
        errors=tuple(errors),
    )
