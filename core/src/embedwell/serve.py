"""Runs the server: signals, what is said at the start, and the order of stopping."""

import asyncio
import fcntl
import gc
import json
import logging
import os
import resource
import shlex
import signal
import socket
import ssl
import sys
import threading
import time
from contextlib import closing, suppress
from pathlib import Path

import anyio

from embedwell import __version__, exposure, logs, loops
from embedwell.app import App, create_app
from embedwell.config.hosts import ANY
from embedwell.config.schema import Config, Server
from embedwell.config.server import hosts, is_local
from embedwell.errors import ConfigurationError
from embedwell.interfaces.encoders import Backend
from embedwell.loader.plugins import Plugins
from embedwell.runtime import Runtime
from embedwell.transport import server, tls
from embedwell.transport.sockets import listening

log = logging.getLogger("embedwell.serve")

FEWEST_FILES, ENOUGH_FILES = 512, 4096
EXIT_FATAL, EXIT_CUT = 70, 75  # 75: stopped, but accepted work did not finish
# That a thread keeps the interpreter from others, a tenth of what Python would let it: the device's
# threads want it for moments, and the loop after them.
SWITCH_SECONDS = 0.0005
SPARE = 5.0  # seconds after the grace period until the watchdog ends the process


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
    most = server.bound(_raise_file_limit())
    lock = _lock(Path(config.server.data_dir))
    try:
        with (
            listening(config.server) as listener,
            asyncio.Runner(loop_factory=loops.factory()) as runner,
        ):
            return runner.run(_serve(runtime, listener, certified, most))
    finally:
        os.close(lock)


async def _serve(
    runtime: Runtime, listener: socket.socket, certified: ssl.SSLContext | None, most: int
) -> int:
    ending = _watchdog(runtime.server.grace_seconds)
    stop = _signals(ending)
    place = _place(runtime.server, listener)
    async with runtime:
        _say_who_may_call(runtime)
        log.info("starting on %s, data in %s", place, runtime.data_dir)
        app = create_app(runtime)
        close, stopping = asyncio.Event(), asyncio.Event()
        serving = asyncio.create_task(
            server.serve(app, listener, close, tls=certified, most=most, stopping=stopping)
        )
        announcing = asyncio.create_task(_announce(runtime, place))
        fatal = asyncio.create_task(_first_failure(runtime, announcing))
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait({fatal, stopped, serving}, return_when=asyncio.FIRST_COMPLETED)
        ending.set()
        code = 0 if stopped.done() else EXIT_FATAL
        if fatal.done():
            log.critical("stopping: %s", fatal.result())
        if serving.done() and (error := serving.exception()):
            log.critical("stopping: the HTTP server failed", exc_info=error)
        stopping.set()
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


def _say_who_may_call(runtime: Runtime) -> None:
    """Raises ConfigurationError where it would be everybody, and nobody wanted that."""
    settings = runtime.server
    guarded = exposure.has_guard(runtime.plugins)
    exposure.check(settings, guarded=guarded)
    if not guarded and not is_local(settings):
        log.warning(
            "server.allow_unauthenticated: WHOEVER REACHES %s MAY USE, UPLOAD AND DELETE MODELS",
            settings.host,
        )
    names = hosts(settings)
    log.info(
        "answering to %s; pages of other sites: %s",
        "any name" if ANY in names else ", ".join(names),
        ", ".join(settings.allowed_origins) or "none",
    )


def _place(settings: Server, listener: socket.socket) -> str:
    """Where clients of this machine find it: a URL, or the socket's path."""
    if settings.unix_socket:
        return f"unix:{settings.unix_socket}"
    scheme = "https" if settings.tls_certificate else "http"
    host, port = listener.getsockname()[:2]
    address = "localhost" if host in ("127.0.0.1", "0.0.0.0", "::", "::1") else host  # noqa: S104
    return f"{scheme}://[{address}]:{port}" if ":" in address else f"{scheme}://{address}:{port}"


def _curl(place: str) -> str:
    if place.startswith("unix:"):
        return f"curl --unix-socket {shlex.quote(place[5:])} http://localhost/embeddings"
    return f"curl {place}/embeddings"


async def _announce(runtime: Runtime, place: str) -> None:
    """One line when the first request can be served; in a JSON log a record with fields."""
    await runtime.warmed()
    listing = await runtime.registry.models()
    names = [listed.alias or listed.snapshot.key.name for listed in listing]
    if runtime.server.log_format == "json":
        fields = {"address": place, "device": runtime.device, "models": names}
        log.info("ready on %s", place, extra={logs.FIELDS: fields})
        return
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    body = json.dumps({"model": names[0] if names else "owner/name", "input": "Text to embed"})
    key = ' -H "Authorization: Bearer $KEY"' if exposure.has_guard(runtime.plugins) else ""
    line = (
        f"Embedwell {__version__} ready on {place} | device {runtime.device} | "
        f"models: {shown or 'none yet'} | try: "
        f"{_curl(place)}{key} -H 'Content-Type: application/json' -d '{body}'\n"
    )
    # In a thread, for it may be that nobody reads it.
    threading.Thread(target=_say, args=(line,), name="embedwell-say", daemon=True).start()


def _say(line: str) -> None:
    try:
        print(line, end="", flush=True)  # noqa: T201
    except OSError as error:  # no reason to stop serving
        log.warning("the start-up line could not be written: %s", error.strerror)


def _freeze() -> None:
    """Before the first request: a later full collection would stop the loop over old objects."""
    gc.collect()
    gc.freeze()


def _signals(ending: threading.Event) -> asyncio.Event:
    """Set by the first SIGTERM or SIGINT; the second ends the process at once."""
    stop = asyncio.Event()

    def received() -> None:
        if stop.is_set():
            os._exit(130)
        stop.set()
        ending.set()  # now: a start may hang, too

    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, received)
    return stop


def _watchdog(grace: float) -> threading.Event:
    """Once it is set the process has the grace period and some, whatever hangs."""
    ending = threading.Event()

    def end() -> None:
        ending.wait()
        time.sleep(grace + SPARE)
        os._exit(EXIT_CUT)

    threading.Thread(target=end, name="embedwell-watchdog", daemon=True).start()
    return ending


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


def _raise_file_limit() -> int:
    """Descriptors that the process may have, negative for any number."""
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
    return soft
