"""What the server wants of its process: signals, an end in time, its directory, descriptors."""

import asyncio
import fcntl
import logging
import os
import resource
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

from embedwell.errors import ConfigurationError

log = logging.getLogger("embedwell.serve")

FEWEST_FILES, ENOUGH_FILES = 512, 4096
EXIT_CUT = 75  # stopped, but accepted work did not finish
SPARE = 5.0  # seconds after the grace period until the watchdog ends the process


def signals(ending: threading.Event) -> asyncio.Event:
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


def watchdog(grace: float) -> threading.Event:
    """Once it is set the process has the grace period and some, whatever hangs."""
    ending = threading.Event()

    def end() -> None:
        ending.wait()
        time.sleep(grace + SPARE)
        os._exit(EXIT_CUT)

    threading.Thread(target=end, name="embedwell-watchdog", daemon=True).start()
    return ending


def lock(folder: Path) -> int:
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


def raise_file_limit() -> int:
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
