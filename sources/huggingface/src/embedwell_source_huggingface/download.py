"""The child process: asks the Hub and downloads, so that it can be killed at any moment.

Reads one request on its standard input, whose end means that the server is gone; writes JSON
lines. Nothing else may import it.
"""

import os
import sys
import threading
import time
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import msgspec

from embedwell_source_huggingface.full import full
from embedwell_source_huggingface.messages import (
    Absent,
    Ask,
    Done,
    Failed,
    Get,
    Listing,
    Message,
    Moved,
    Request,
    Why,
)
from embedwell_source_huggingface.verify import Corrupt, verify

EVERY = 0.2  # seconds between two reports of progress
CONNECTIONS = 4
_NETWORK = {"httpcore", "httpx", "httpx2", "requests", "ssl", "socket", "urllib3"}


class Output:
    """Standard output, of which the library's own prints are kept out."""

    def __init__(self) -> None:
        self._file: BinaryIO = os.fdopen(os.dup(1), "wb")
        os.dup2(2, 1)
        self._lock = threading.Lock()

    def send(self, message: Message) -> None:
        with self._lock:
            self._file.write(msgspec.json.encode(message) + b"\n")
            self._file.flush()


def main() -> NoReturn:
    """Ends the process without waiting for threads: one may hang in the network."""
    output = Output()
    request = msgspec.json.decode(_line(), type=Request)
    threading.Thread(target=_end_with_server, daemon=True).start()
    try:
        output.send(ask(request) if isinstance(request, Ask) else get(request, output))
    except Exception as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)  # noqa: T201
        output.send(explain(error))
    os._exit(0)


def ask(request: Ask) -> Message:
    """The commit and the files behind a revision."""
    from huggingface_hub import HfApi

    api = HfApi(endpoint=request.endpoint, token=request.token or False)
    info = api.model_info(
        request.repo, revision=request.revision, files_metadata=True, timeout=request.timeout
    )
    siblings = info.siblings or []
    return Listing(str(info.sha), tuple((str(s.rfilename), int(s.size or 0)) for s in siblings))


def get(request: Get, output: Output) -> Message:
    """Downloads what is not there yet, and checks all of it."""
    from huggingface_hub import snapshot_download

    folder = snapshot_download(
        request.repo,
        revision=request.commit,
        allow_patterns=list(request.files),
        cache_dir=request.cache,
        endpoint=request.endpoint,
        token=request.token or False,
        max_workers=CONNECTIONS,
        tqdm_class=_meter(output),
    )
    verify(Path(folder), request.files)
    return Done()


def explain(error: Exception) -> Message:
    """What an exception means to those who wait."""
    from huggingface_hub import errors

    absent = (errors.RepositoryNotFoundError, errors.RevisionNotFoundError)
    if isinstance(error, errors.HfHubHTTPError) and not isinstance(error, absent):
        disabled = isinstance(error, errors.DisabledRepoError)
        return Failed("disabled") if disabled else _explain_status(error.response.status_code)
    if isinstance(error, (*absent, errors.HFValidationError)):
        return Failed("gated") if isinstance(error, errors.GatedRepoError) else Absent()
    if isinstance(error, Corrupt):
        return Failed("corrupt")
    return Failed(_explain_other(error))


def _explain_other(error: Exception) -> Why:
    if full(error):
        return "full"
    network = type(error).__module__.split(".")[0] in _NETWORK
    return "unreachable" if network or isinstance(error, OSError) else "bug"


def _explain_status(status: int) -> Message:
    if status == 404:
        return Absent()
    return Failed("unauthorized" if status in (401, 403) else "refused", status)


def _meter(output: Output) -> type[Any]:
    from tqdm import tqdm  # type: ignore[import-untyped]

    class Meter(tqdm):  # type: ignore[misc]
        """Shows nothing, sends the bytes so far: of several byte counts the one ahead."""

        most = 0
        sent = 0.0

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self._bytes = kwargs.get("unit") == "B"
            self._count = 0
            super().__init__(*args, **{**kwargs, "disable": True})

        def update(self, n: float | None = 1) -> None:
            self._count += int(n or 0)
            now = time.monotonic()
            if self._bytes and self._count > Meter.most:
                Meter.most = self._count
                if now - Meter.sent >= EVERY:
                    Meter.sent = now
                    output.send(Moved(Meter.most))

    return Meter


def _line() -> bytes:
    """By the descriptor: a buffered reader would hold its lock when the process ends."""
    data = b""
    while not data.endswith(b"\n"):
        more = os.read(0, 65_536)
        if not more:
            os._exit(1)
        data += more
    return data


def _end_with_server() -> NoReturn:
    while os.read(0, 4_096):
        pass
    os._exit(1)


if __name__ == "__main__":
    main()
