"""Runs the server, and stops it in order."""

import asyncio
import gc
import logging
import os
import socket
import ssl
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio

from embedwell import logs, loops
from embedwell.announcing import announce, place, say_who_may_call
from embedwell.app import App, create_app
from embedwell.config.schema import Config
from embedwell.interfaces.encoders import Backend
from embedwell.loader.plugins import Plugins
from embedwell.process import EXIT_CUT, SPARE, lock, raise_file_limit, signals, watchdog
from embedwell.runtime import Runtime
from embedwell.transport import server, tls
from embedwell.transport.sockets import listening

log = logging.getLogger("embedwell.serve")

EXIT_FATAL = 70
# That a thread keeps the interpreter from others, a tenth of what Python would let it: the device's
# threads want it for moments, and the loop after them.
SWITCH_SECONDS = 0.0005


def run(config: Config, plugins: Plugins, backend: Backend | None = None) -> int:
    """Serves until SIGTERM, SIGINT or a failure that a restart may mend; returns the exit code.

    `backend` None is the configured one. Raises ConfigurationError or PluginError where it cannot
    start. In the main thread.
    """
    with closing(logs.set_up(config.server.log_format)):
        return _run(config, plugins, backend)


def _run(config: Config, plugins: Plugins, backend: Backend | None) -> int:
    sys.setswitchinterval(SWITCH_SECONDS)
    certified = tls.context(config.server)
    runtime = Runtime(config, plugins=plugins, backend=backend, before_ready=_freeze)
    most = server.bound(raise_file_limit())
    held = lock(Path(config.server.data_dir))
    try:
        with (
            listening(config.server) as listener,
            asyncio.Runner(loop_factory=loops.factory()) as runner,
        ):
            return runner.run(_serve(runtime, listener, certified, most))
    finally:
        os.close(held)


async def _serve(
    runtime: Runtime, listener: socket.socket, certified: ssl.SSLContext | None, most: int
) -> int:
    ending = watchdog(runtime.server.grace_seconds)
    stop = signals(ending)
    where = place(runtime.server, listener)
    async with runtime:
        say_who_may_call(runtime)
        log.info("starting on %s, data in %s", where, runtime.data_dir)
        app = create_app(runtime)
        close, stopping = asyncio.Event(), asyncio.Event()
        serving = asyncio.create_task(
            server.serve(app, listener, close, tls=certified, most=most, stopping=stopping)
        )
        code = await _until_it_ends(runtime, where, stop, serving)
        ending.set()
        stopping.set()
        if not await _drain(runtime, app):
            code = code or EXIT_CUT
        close.set()
        await asyncio.wait({serving}, timeout=SPARE / 2)
        await _cancelled(serving)
        log.info("stopped")
    return code


async def _until_it_ends(
    runtime: Runtime, where: str, stop: asyncio.Event, serving: "asyncio.Task[None]"
) -> int:
    """Told to, or by a failure, which is logged; returns the exit code."""
    announcing = asyncio.create_task(announce(runtime, where))
    fatal = asyncio.create_task(_first_failure(runtime, announcing))
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait({fatal, stopped, serving}, return_when=asyncio.FIRST_COMPLETED)
    code = 0 if stopped.done() else EXIT_FATAL
    if fatal.done():
        log.critical("stopping: %s", fatal.result())
    if serving.done() and (error := serving.exception()):
        log.critical("stopping: the HTTP server failed", exc_info=error)
    await _cancelled(fatal, stopped, announcing)
    return code


async def _cancelled(*tasks: "asyncio.Task[Any]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks, timeout=1)


async def _drain(runtime: Runtime, app: App) -> bool:
    """New work is refused; whether all accepted work was answered within the grace period.

    What was not gets its error while its connection is still open.
    """
    log.info("stopping: %d requests under way", app.in_flight)
    app.begin_drain()
    runtime.drain()
    with anyio.move_on_after(runtime.server.grace_seconds) as scope:
        await app.drained()
    lost = app.unanswered
    if scope.cancelled_caught:
        log.warning("%d requests did not end in time", app.in_flight)
        app.cut()
        with anyio.move_on_after(1):
            await app.drained()
    return not lost


async def _first_failure(runtime: Runtime, announcing: "asyncio.Task[None]") -> str:
    """Why the process should end by itself: a dead device, or an engine that does not start."""
    await asyncio.wait({announcing})
    if not announcing.cancelled() and (error := announcing.exception()):
        log.error("the engine did not start", exc_info=error)
        return f"the engine did not start: {type(error).__name__}"
    return await runtime.fatal()


def _freeze() -> None:
    """Before the first request: a later full collection would stop the loop over old objects."""
    gc.collect()
    gc.freeze()
