"""A process that ends with its parent, however that ends.

python -m tests.benchmarks.speed.owned PARENT COMMAND… becomes COMMAND, and is killed with PARENT.
"""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

PDEATHSIG = 1  # of prctl(2); it survives exec
GRACE = 10.0  # seconds to end by itself


@contextmanager
def owned(
    command: Sequence[object],
    *,
    log: Path,
    output: BinaryIO | None = None,
    environment: dict[str, str] | None = None,
) -> Iterator["subprocess.Popen[bytes]"]:
    """Its stdin is a pipe, its stdout one or `output`; stderr goes to the log; ended on leaving."""
    prefix = [sys.executable, "-m", "tests.benchmarks.speed.owned", str(os.getpid())]
    with log.open("ab") as errors:
        process = subprocess.Popen(
            [*prefix, *map(str, command)],
            stdin=subprocess.PIPE,
            stdout=output or subprocess.PIPE,
            stderr=errors,
            env={**os.environ, **(environment or {})},
            start_new_session=True,  # a terminal's Ctrl-C reaches the parent alone
        )
    try:
        yield process
    finally:
        _end(process)


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):  # what it did not read before it ended
                pipe.close()


def main(arguments: Sequence[str]) -> None:
    """Never returns."""
    parent, *command = arguments
    ctypes.CDLL(None).prctl(PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):  # it ended before it could be tied to
        sys.exit(1)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
