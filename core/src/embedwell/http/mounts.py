"""Runs the application of a Mount until it is done or its client has left."""

import asyncio

from embedwell.http.asgi import Scope, Send
from embedwell.http.client import Client
from embedwell.http.context import Match
from embedwell.http.middleware.root_path import mounted


class Exited(Exception):
    """An application tried to end the process: in a task of its own that would end the loop."""


async def run_mount(match: Match, scope: Scope, client: Client, send: Send) -> None:
    """Cancels the application when the client leaves; raises what it raised."""
    app = asyncio.ensure_future(_contained(match, scope, client, send))
    leaving = asyncio.ensure_future(client.left())
    try:
        await asyncio.wait([app, leaving], return_when=asyncio.FIRST_COMPLETED)
    finally:
        leaving.cancel()
        app.cancel()  # does nothing to one that is done
        await asyncio.wait([app, leaving])
    if not app.cancelled():
        app.result()


async def _contained(match: Match, scope: Scope, client: Client, send: Send) -> None:
    assert match.app is not None
    try:
        await match.app(mounted(scope, match.pattern), client.forward, send)
    except (SystemExit, KeyboardInterrupt) as error:
        raise Exited(match.pattern) from error
