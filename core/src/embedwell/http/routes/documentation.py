"""The OpenAPI document, and the page that shows it."""

from collections.abc import Callable, Sequence
from pathlib import Path

from embedwell.interfaces.routes import Reply, Request, Route

POLICY = (
    "default-src 'none'; connect-src 'self'; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def routes(document: Callable[[], bytes]) -> Sequence[Route]:
    """`document` gives the OpenAPI JSON once all routes are known."""
    page = Path(__file__).parent.with_name("page.html").read_bytes()

    async def openapi(request: Request) -> Reply:
        return Reply(body=document())

    async def docs(request: Request) -> Reply:
        headers = {"content-security-policy": POLICY, "x-content-type-options": "nosniff"}
        return Reply(body=page, content_type="text/html; charset=utf-8", headers=headers)

    return [
        Route(
            method="GET",
            path="/openapi.json",
            handler=openapi,
            access="public",
            summary="This interface, as OpenAPI 3.1",
            replies={200: "application/json"},
        ),
        Route(
            method="GET",
            path="/docs",
            handler=docs,
            access="public",
            summary="This interface, as a page",
            replies={200: "text/html"},
        ),
    ]
