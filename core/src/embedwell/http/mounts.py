"""Runs the application of a Mount until it is done or its client has left."""

import asyncio

from embedwell.http.asgi import Scope, Send
from embedwell.http.client import Client
from embedwell.http.context import Match


async def run_mount(match: Match, scope: Scope, client: Client, send: Send) -> None:
    """Cancels the application when the client leaves; raises what it raised."""
    assert match.app is not None
    inner = {**scope, "root_path": match.pattern}
    app = asyncio.ensure_future(match.app(inner, client.forward, send))
    leaving = asyncio.ensure_future(client.left())
    try:
        await asyncio.wait([app, leaving], return_when=asyncio.FIRST_COMPLETED)
    finally:
        leaving.cancel()
        app.cancel()  # does nothing to one that is done
        await asyncio.wait([app, leaving])
    if not app.cancelled():
        app.result()
