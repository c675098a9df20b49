"""The process that looks at a folder for `checking`, so that nothing in it can harm the server.

Started as `python -m embedwell.models.checked FOLDER MEMORY SECONDS`; says on its last line of
output, in JSON, why the folder may not be served, or null. Ends when its standard input does.
"""

import os
import resource
import sys
from contextlib import suppress
from pathlib import Path
from threading import Thread

import msgspec

from embedwell.errors import InvalidModel
from embedwell.models.validation import validate


def main() -> None:
    folder, memory, seconds = sys.argv[1:]
    Thread(target=_end_with_the_server, daemon=True).start()
    _limit(resource.RLIMIT_AS, int(memory))
    _limit(resource.RLIMIT_CPU, int(seconds))
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, 0)  # it writes to a pipe only
    reason = None
    try:
        validate(Path(folder))
    except InvalidModel as refused:
        reason = refused.message
    sys.stdout.buffer.write(b"\n" + msgspec.json.encode({"reason": reason}))
    sys.stdout.buffer.flush()
    os._exit(0)  # what it read need not be freed piece by piece


def _limit(kind: int, most: int) -> None:
    with suppress(ValueError, OSError):  # below a limit that was there already
        resource.setrlimit(kind, (most, most))


def _end_with_the_server() -> None:
    os.read(0, 1)
    os._exit(1)


if __name__ == "__main__":
    main()
