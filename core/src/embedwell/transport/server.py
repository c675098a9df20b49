"""Serves an application on a listening socket until it is told to close."""

import asyncio
import socket
import ssl

from embedwell.http.asgi import App
from embedwell.transport.connections import PROBE_PLACES, Connections

MOST = 8192  # connections; each takes about 10 KB
RESERVE = 192 + PROBE_PLACES  # descriptors for files, too, and for what is about to be closed


def bound(descriptors: int) -> int:
    """Connections at once in a process that may have so many descriptors; negative: any number."""
    return MOST if descriptors < 0 else max(1, min(MOST, descriptors - RESERVE))


async def serve(
    app: App,
    listener: socket.socket,
    close: asyncio.Event,
    *,
    tls: ssl.SSLContext | None = None,
    most: int = MOST,
    stopping: asyncio.Event | None = None,
) -> None:
    """Serves until `close` is set; answers then have a moment to arrive. Closes the listener.

    While `stopping` is set, clients that do not take their answers are given up.
    """
    connections = Connections(app, listener, tls, most, stopping or asyncio.Event())
    try:
        await close.wait()
    finally:
        await connections.aclose()
