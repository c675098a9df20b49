"""What a server says of itself at the start: who may call it, where, and how."""

import json
import logging
import shlex
import socket
import threading

from embedwell import __version__, exposure, logs
from embedwell.config.hosts import ANY
from embedwell.config.schema import Server
from embedwell.config.server import hosts, is_local
from embedwell.runtime import Runtime

log = logging.getLogger("embedwell.serve")


def say_who_may_call(runtime: Runtime) -> None:
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


def place(settings: Server, listener: socket.socket) -> str:
    """Where clients of this machine find it: a URL, or the socket's path."""
    if settings.unix_socket:
        return f"unix:{settings.unix_socket}"
    scheme = "https" if settings.tls_certificate else "http"
    host, port = listener.getsockname()[:2]
    address = "localhost" if host in ("127.0.0.1", "0.0.0.0", "::", "::1") else host  # noqa: S104
    return f"{scheme}://[{address}]:{port}" if ":" in address else f"{scheme}://{address}:{port}"


def _curl(where: str) -> str:
    if where.startswith("unix:"):
        return f"curl --unix-socket {shlex.quote(where[5:])} http://localhost/embeddings"
    return f"curl {where}/embeddings"


async def announce(runtime: Runtime, where: str) -> None:
    """One line when the first request can be served; in a JSON log a record with fields."""
    await runtime.warmed()
    listing = await runtime.registry.models()
    names = [listed.alias or listed.snapshot.key.name for listed in listing]
    if runtime.server.log_format == "json":
        fields = {"address": where, "device": runtime.device, "models": names}
        log.info("ready on %s", where, extra={logs.FIELDS: fields})
        return
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    body = json.dumps({"model": names[0] if names else "owner/name", "input": "Text to embed"})
    key = ' -H "Authorization: Bearer $KEY"' if exposure.has_guard(runtime.plugins) else ""
    line = (
        f"Embedwell {__version__} ready on {where} | device {runtime.device} | "
        f"models: {shown or 'none yet'} | try: "
        f"{_curl(where)}{key} -H 'Content-Type: application/json' -d '{body}'\n"
    )
    # In a thread, for it may be that nobody reads it.
    threading.Thread(target=_say, args=(line,), name="embedwell-say", daemon=True).start()


def _say(line: str) -> None:
    try:
        print(line, end="", flush=True)  # noqa: T201
    except OSError as error:  # no reason to stop serving
        log.warning("the start-up line could not be written: %s", error.strerror)
