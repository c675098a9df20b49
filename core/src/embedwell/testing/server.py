"""A whole server inside a test: real HTTP on a free port, events within reach."""

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import hypercorn
import hypercorn.asyncio

from embedwell import refusals
from embedwell.app import App, create_app
from embedwell.config.schema import Config
from embedwell.interfaces.encoders import Backend
from embedwell.interfaces.events import Event
from embedwell.loader import load
from embedwell.runtime import Runtime


class RunningServer:
    """`url` is where it listens; `events` are all that happened so far."""

    def __init__(self, runtime: Runtime, app: App, port: int, events: list[Event]) -> None:
        self.runtime = runtime
        self.app = app
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.events = events


@asynccontextmanager
async def running_server(
    config: Config, *, modules: Sequence[object] = (), backend: Backend | None = None
) -> AsyncIterator[RunningServer]:
    """Installed plugins and `modules`, behind Hypercorn; warm when the block is entered."""
    runtime = Runtime(config, plugins=load(config, modules=modules), backend=backend)
    events: list[Event] = []
    runtime.observe("test", events.append)
    async with runtime:
        app = create_app(runtime)
        listener = socket.create_server(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        stop = asyncio.Event()
        serving = asyncio.create_task(_serve(app, listener, stop))
        try:
            await runtime.warmed()
            yield RunningServer(runtime, app, port, events)
        finally:
            stop.set()
            await serving


async def _serve(app: App, listener: socket.socket, stop: asyncio.Event) -> None:
    refusals.install()
    settings = hypercorn.Config()
    settings.bind = [f"fd://{listener.detach()}"]
    settings.graceful_timeout = 1
    settings.accesslog = settings.errorlog = None
    await hypercorn.asyncio.serve(app, settings, shutdown_trigger=stop.wait, mode="asgi")  # type: ignore[arg-type]
