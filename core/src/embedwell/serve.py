"""Runs the server: socket, Hypercorn, signals, and the order of stopping."""

import asyncio
import errno
import fcntl
import gc
import json
import logging
import os
import resource
import signal
import socket
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import hypercorn
import hypercorn.asyncio

from embedwell import __version__, loops, refusals
from embedwell.app import App, create_app
from embedwell.config.schema import Config
from embedwell.errors import ConfigurationError
from embedwell.loader import Plugins
from embedwell.runtime import Runtime

log = logging.getLogger("embedwell.serve")

FEWEST_FILES, ENOUGH_FILES = 512, 4096
EXIT_FATAL, EXIT_CUT = 70, 75  # 75: stopped, but accepted work did not finish
SPARE = 5.0  # seconds after the grace period until the watchdog ends the process


def run(config: Config, plugins: Plugins) -> int:
    """Serves until SIGTERM or SIGINT; returns the exit code.

    Raises ConfigurationError or PluginError before anything is bound or loaded.
    """
    _set_up_logging(config.server.log_format)
    runtime = Runtime(config, plugins=plugins, before_ready=_freeze)
    _raise_file_limit()
    data_dir = Path(config.server.data_dir)
    lock = _lock(data_dir)
    try:
        listener = _bind(config.server.host, config.server.port)
        with asyncio.Runner(loop_factory=loops.factory()) as runner:
            return runner.run(_serve(runtime, listener))
    finally:
        os.close(lock)


async def _serve(runtime: Runtime, listener: socket.socket) -> int:
    stop = _signals()
    host, port = listener.getsockname()[:2]
    async with runtime:
        log.info("starting on port %d, data in %s", port, runtime.data_dir)
        app = create_app(runtime)
        close = asyncio.Event()
        serving = asyncio.create_task(_hypercorn(app, listener, close))
        announcing = asyncio.create_task(_announce(runtime, str(host), int(port)))
        fatal = asyncio.create_task(_first_failure(runtime, announcing))
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait({fatal, stopped, serving}, return_when=asyncio.FIRST_COMPLETED)
        _start_watchdog(runtime.server.grace_seconds)
        code = 0 if stopped.done() else EXIT_FATAL
        if fatal.done():
            log.critical("stopping: %s", fatal.result())
        if serving.done() and (error := serving.exception()):
            log.critical("stopping: the HTTP server failed", exc_info=error)
        if not await _drain(runtime, app):
            code = code or EXIT_CUT
        close.set()
        await asyncio.wait({serving}, timeout=SPARE / 2)
        for task in (fatal, stopped, announcing, serving):
            task.cancel()
        await asyncio.wait({fatal, stopped, announcing, serving}, timeout=1)
        log.info("stopped")
    return code


async def _drain(runtime: Runtime, app: App) -> bool:
    """New work is refused; whether all accepted work finished within the grace period.

    What did not gets its error while its connection is still open.
    """
    log.info("stopping: %d requests under way", app.in_flight)
    app.begin_drain()
    runtime.drain()
    with anyio.move_on_after(runtime.server.grace_seconds) as scope:
        await app.drained()
    if scope.cancelled_caught:
        log.warning("%d requests did not end in time", app.in_flight)
        app.cut()
        with anyio.move_on_after(1):
            await app.drained()
    return not scope.cancelled_caught


async def _first_failure(runtime: Runtime, announcing: "asyncio.Task[None]") -> str:
    """Why the process should end by itself: a dead device, or an engine that does not start."""
    await asyncio.wait({announcing})
    if not announcing.cancelled() and (error := announcing.exception()):
        log.error("the engine did not start", exc_info=error)
        return f"the engine did not start: {type(error).__name__}"
    return await runtime.fatal()


async def _hypercorn(app: App, listener: socket.socket, close: asyncio.Event) -> None:
    refusals.install()
    settings = hypercorn.Config()
    settings.bind = [f"fd://{listener.detach()}"]
    settings.backlog = 128  # asyncio accepts so many at once, and logs each it cannot
    settings.keep_alive_timeout = 5
    settings.h2_max_concurrent_streams = 32
    settings.h11_max_incomplete_size = 64 * 1024  # beyond our own limits, which decide then
    settings.graceful_timeout = 1  # the draining is ours; what is left by then is cut
    settings.include_server_header = False
    settings.accesslog = None
    settings.errorlog = logging.getLogger("hypercorn.error")
    await hypercorn.asyncio.serve(app, settings, shutdown_trigger=close.wait, mode="asgi")  # type: ignore[arg-type]


async def _announce(runtime: Runtime, host: str, port: int) -> None:
    """One line when the first request can be served."""
    await runtime.warmed()
    listing = await runtime.registry.models()
    names = [listed.alias or listed.snapshot.key.name for listed in listing]
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    address = "localhost" if host in ("127.0.0.1", "0.0.0.0", "::", "::1") else host  # noqa: S104
    url = f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"
    body = json.dumps({"model": names[0] if names else "owner/name", "input": "Text to embed"})
    line = (
        f"Embedwell {__version__} ready on {url} | device {runtime.device} | "
        f"models: {shown or 'none yet'} | try: "
        f"curl {url}/embeddings -H 'Content-Type: application/json' -d '{body}'\n"
    )
    try:
        print(line, end="", flush=True)  # noqa: T201
    except OSError as error:  # nobody reads it: no reason to stop serving
        log.warning("the start-up line could not be written: %s", error.strerror)


def _freeze() -> None:
    """Before the first request: a later full collection would stop the loop over old objects."""
    gc.collect()
    gc.freeze()


def _signals() -> asyncio.Event:
    """Set by the first SIGTERM or SIGINT; the second ends the process at once."""
    stop = asyncio.Event()

    def received() -> None:
        if stop.is_set():
            os._exit(130)
        stop.set()

    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, received)
    return stop


def _start_watchdog(grace: float) -> None:
    def end() -> None:
        threading.Event().wait(grace + SPARE)
        os._exit(EXIT_CUT)

    threading.Thread(target=end, name="embedwell-watchdog", daemon=True).start()


def _bind(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=128)
    except (OSError, ValueError) as error:  # a label too long is a UnicodeError
        why = getattr(error, "strerror", None) or str(error)
        if getattr(error, "errno", None) == errno.EADDRINUSE:
            why = "another program listens there: choose another with --port"
        raise ConfigurationError([f"server: cannot listen on {host}:{port}: {why}"]) from error


def _lock(folder: Path) -> int:
    """The data directory, for this process alone."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(folder / "LOCK", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        why = getattr(error, "strerror", None) or str(error)
        raise ConfigurationError([f"server.data_dir: {folder}: {why}"]) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        reason = f"server.data_dir: another server uses {folder}: give each its own (--data-dir)"
        raise ConfigurationError([reason]) from error
    return handle


def _raise_file_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    if 0 <= soft < FEWEST_FILES:
        raise ConfigurationError(
            [f"only {soft} open files are allowed: raise it (ulimit -n 65536)"]
        )
    if 0 <= soft < ENOUGH_FILES:
        log.warning("only %d open files are allowed; 65536 is better (ulimit -n)", soft)


class _Flood(logging.Filter):
    """One line a second of what would fill the disk when descriptors run out."""

    def __init__(self) -> None:
        super().__init__()
        self._last = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        if "out of system resource" not in str(record.msg):
            return True
        due = record.created - self._last >= 1
        self._last = record.created if due else self._last
        return due


class _Json(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)


def _set_up_logging(form: str) -> None:
    handler = logging.StreamHandler(sys.stderr)
    plain = logging.Formatter("%(asctime)s %(levelname)-7s %(name)s  %(message)s", "%H:%M:%S")
    handler.setFormatter(_Json() if form == "json" else plain)
    logging.getLogger("asyncio").addFilter(_Flood())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("embedwell").setLevel(logging.INFO)
