"""Routes that a plugin would bring: without it they say which one."""

from collections.abc import Sequence

from embedwell.errors import NotFound
from embedwell.interfaces.routes import Mount, Reply, Request, Route

BROUGHT_BY = {
    ("POST", "/models/upload"): "embedwell-source-upload",
    ("PUT", "/models/upload"): "embedwell-source-upload",
    ("POST", "/models/github"): "embedwell-source-github",
    ("POST", "/models/huggingface"): "embedwell-source-huggingface",
    ("GET", "/metrics"): "embedwell-plugin-metrics",
}


def routes(present: Sequence[Route | Mount]) -> Sequence[Route]:
    """One Route for each that nobody brought; all answer NOT_FOUND."""
    there = {(r.method, r.path) for r in present if isinstance(r, Route)}
    prefixes = {m.prefix for m in present if isinstance(m, Mount)}
    return [
        _absent(method, path, distribution)
        for (method, path), distribution in BROUGHT_BY.items()
        if (method, path) not in there and path not in prefixes
    ]


def _absent(method: str, path: str, distribution: str) -> Route:
    async def refuse(request: Request) -> Reply:
        raise NotFound(
            f"Route not found: {method} {path} needs a plugin; pip install {distribution}"
        )

    return Route(method=method, path=path, handler=refuse, access="public", summary="")
