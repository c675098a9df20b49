"""A whole server inside a test: real HTTP on a free port, events within reach."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from embedwell.app import App, create_app
from embedwell.config.schema import Config
from embedwell.interfaces.encoders import Backend
from embedwell.interfaces.events import Event
from embedwell.loader.load import load
from embedwell.runtime import Runtime
from embedwell.transport.server import serve


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
    config: Config,
    *,
    modules: Sequence[object] = (),
    backend: Backend | None = None,
    wall: Callable[[], float] = time.time,
) -> AsyncIterator[RunningServer]:
    """Installed plugins and `modules`, behind Hypercorn; warm when the block is entered."""
    plugins = load(config, modules=modules)
    runtime = Runtime(config, plugins=plugins, backend=backend, wall=wall)
    events: list[Event] = []
    runtime.observe("test", events.append)
    async with runtime:
        app = create_app(runtime)
        listener = socket.create_server(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        stop = asyncio.Event()
        serving = asyncio.create_task(serve(app, listener, stop))
        try:
            await runtime.warmed()
            yield RunningServer(runtime, app, port, events)
        finally:
            stop.set()
            await serving
