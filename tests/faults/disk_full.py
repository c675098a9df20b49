"""Fill the disk under a server while models are uploaded; later uploads work without a restart.

    python -m tests.faults.disk_full

Runs itself in a namespace of its own (`unshare -rm`), for the data directory is a small file system
in memory. Says so and exits 0 where that is not permitted; exits non-zero on a fault.
"""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import httpx

from tests.faults.upload_server import Model, Running, model, running, send, staged

MB = 1_000_000
DISK = 400 * MB
RESERVE = 100 * MB  # what the store leaves free
SIZE = 110 * MB  # more than the reserve: unpacking beside the archive can fill the disk for good
FREE = (0, 1, 10, 60, 109, 112, 115, 119)  # MB beyond the reserve
ALLOWED = ("unshare", "-rm", "true")


def fill(data: Path, free: int) -> Path:
    """Take the disk but for `free` bytes."""
    path = data / "filler"
    with path.open("wb") as file:
        while (left := shutil.disk_usage(data).free - free) > 0:
            with suppress(OSError):  # the server writes too: measure again
                os.posix_fallocate(file.fileno(), file.seek(0, os.SEEK_END), left)
    return path


async def clean(server: Running, folder: Path, golden: list[float]) -> bool:
    """Whether nothing is left of an upload, nothing listed, and the server serves."""
    return (
        not staged(folder)
        and await server.revision("target") is None
        and await server.vector() == golden
    )


async def halfway(server: Running, what: Model, then: Callable[[], object]) -> httpx.Response:
    """An upload during which something happens to the disk."""

    async def body() -> AsyncIterator[bytes]:
        sent = 0
        for chunk in what.tar():
            if sent < SIZE // 2 <= sent + len(chunk):
                then()
            sent += len(chunk)
            yield chunk

    return await server.client.put("/models/upload?model=target", content=body())


async def trial(server: Running, folder: Path) -> bool:
    data, what = folder / "data", model(SIZE)
    golden = await server.vector()
    results = []
    cases = [(free, declared) for free in FREE for declared in (True, False)]
    for free, declared in cases:
        filler = fill(data, RESERVE + free * MB)
        answer = await send(server, "target", what, declared=declared)
        tidy = await clean(server, folder, golden)
        results.append(report(f"{free} MB free", declared, answer, tidy))
        filler.unlink()
    fillers: list[Path] = []
    answer = await halfway(server, what, lambda: fillers.append(fill(data, 0)))
    results.append(report("0 MB in the midst", False, answer, await clean(server, folder, golden)))
    fillers.pop().unlink()
    answer = await send(server, "target", what)
    works = answer.status_code == 201 and await server.revision("target") == what.digest()
    print(f"with room again: {answer.status_code}, {'as it should be' if works else 'WRONG'}")
    return all(results) and works


def report(case: str, declared: bool, answer: httpx.Response, tidy: bool) -> bool:
    told = answer.json()
    good = answer.status_code == 507 and told.get("code") == "INSUFFICIENT_STORAGE" and tidy
    how = "length declared" if declared else "in chunks"
    print(
        f"{case:18} {how:16} {answer.status_code} cleaned up: {tidy}  {told.get('detail', '')[:90]}"
    )
    return good


async def inside() -> int:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        data = folder / "data"
        data.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "none", data], check=True)
        try:
            async with running(folder) as server:
                good = await trial(server, folder)
        finally:
            subprocess.run(["umount", "-l", data], check=True)
    print("good" if good else "FAILED")
    return 0 if good else 1


def main() -> None:
    if sys.argv[1:] == ["inside"]:
        sys.exit(asyncio.run(inside()))
    if shutil.which("unshare") is None or subprocess.run(ALLOWED, check=False).returncode:
        print("SKIPPED: this machine does not permit `unshare -rm`")
        return
    again = [sys.executable, "-m", "tests.faults.disk_full", "inside"]
    sys.exit(subprocess.run(["unshare", "-rm", *again], check=False).returncode)


if __name__ == "__main__":
    main()
