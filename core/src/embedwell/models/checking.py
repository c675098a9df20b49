"""Validation in a process of its own, bounded in time and memory, and killed when given up."""

import asyncio
import contextlib
import logging
import math
import os
import signal
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
from msgspec import Struct

from embedwell.errors import InvalidModel, OutOfMemory
from embedwell.interfaces.services import Threads

log = logging.getLogger("embedwell.models")

MEMORY = 4_000_000_000  # bytes of address space
BYTES_A_SECOND = 10_000_000  # of weights: what the slowest disk gives, at the least
MAX_OUTPUT = 100_000
_MODULE = "embedwell.models.checked"


class _Answer(Struct, frozen=True):
    reason: str | None


class Checker:
    """Checks folders, `at_once` of them at a time; the others wait.

    A check may take `timeout` seconds, and longer for a large folder. Loop only.
    """

    def __init__(
        self, threads: Threads, *, at_once: int = 2, timeout: float = 60, memory: int = MEMORY
    ) -> None:
        self._threads = threads
        self._turn = asyncio.Semaphore(at_once)
        self._timeout = timeout
        self._memory = memory

    async def check(self, path: Path) -> None:
        """Raises InvalidModel with the reason why a folder may not be served.

        Also for one that takes too much time or memory to be looked at. Raises OutOfMemory where
        no process can be started. See `validation.validate`.
        """
        async with self._turn:
            size = await self._threads.run(_size, path)
            seconds = math.ceil(self._timeout + size / BYTES_A_SECOND)
            output = b""
            try:
                async with asyncio.timeout(seconds), _child(path, self._memory, seconds) as child:
                    output = await _output(child)
                    await child.wait()
                answer = msgspec.json.decode(output.rpartition(b"\n")[2], type=_Answer)
            except (TimeoutError, msgspec.DecodeError):
                log.warning("a model could not be checked: %r", output[-2_000:])
                raise InvalidModel(
                    f"The model could not be checked within {seconds} seconds and "
                    f"{self._memory / 1e9:g} GB of memory"
                ) from None
        if answer.reason is not None:
            raise InvalidModel(answer.reason)


def _size(path: Path) -> int:
    """Bytes in the folder, as far as can be seen; the check itself says what is wrong with it."""
    total = 0
    for folder, _, names in os.walk(path):
        for name in names[:10_000]:
            with contextlib.suppress(OSError):
                total += os.lstat(f"{folder}/{name}").st_size
    return total


@asynccontextmanager
async def _child(path: Path, memory: int, seconds: int) -> AsyncIterator[Process]:
    """Gone, with whatever it may have started, when the block ends."""
    command = [
        sys.executable,
        "-B",
        "-P",
        "-s",
        "-m",
        _MODULE,
        str(path),
        str(memory),
        str(seconds),
    ]
    try:
        child = await asyncio.create_subprocess_exec(
            *command, stdin=PIPE, stdout=PIPE, stderr=STDOUT, env=_environment(),
            start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise OutOfMemory(
            f"The model could not be checked: {error.strerror}", retry_after=10
        ) from error
    try:
        yield child
    finally:
        await asyncio.shield(_end(child))


async def _end(child: Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    await child.wait()


async def _output(child: Process) -> bytes:
    """Its last bytes, once it has closed its output."""
    assert child.stdout is not None
    output = b""
    while data := await child.stdout.read(MAX_OUTPUT):
        output = (output + data)[-MAX_OUTPUT:]
    return output


def _environment() -> dict[str, str]:
    """The server's modules, and nothing of its secrets; one thread, for each takes memory."""
    paths = [entry for entry in sys.path if Path(entry).is_absolute()]
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    kept = {key: os.environ[key] for key in ("PATH", "LD_LIBRARY_PATH") if key in os.environ}
    return one | kept | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONUTF8": "1"}
