"""Upload 2 GB to a real server and see what it holds in memory meanwhile.

    python -m tests.faults.upload_memory [megabytes]

Samples the resident memory of the server and its children through the upload, the checks and the
publishing; exits non-zero where it grew by more than 64 MB.
"""

import asyncio
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from tests.faults.upload_server import Running, model, running, send, staged

MOST = 64_000_000
EVERY = 0.01  # seconds


def resident(pid: int, field: str = "VmRSS") -> int:
    """Bytes of this process alone."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    return 0


def tree(pid: int) -> list[int]:
    """It and its children; one that has not become its own program yet shares the parent's pages."""
    children = map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    own = [child for child in children if command(child) != command(pid)]
    return [pid, *(below for child in own for below in tree(child))]


def command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


def together(pid: int) -> int:
    """Bytes of a process and all below it."""
    total = 0
    with suppress(FileNotFoundError, ProcessLookupError):
        for one in tree(pid):
            total += resident(one)
    return total


async def peak(pid: int) -> int:
    """The most that was seen until this is cancelled."""
    most = 0
    with suppress(asyncio.CancelledError):
        while True:
            most = max(most, together(pid))
            await asyncio.sleep(EVERY)
    return most


async def measure(server: Running, folder: Path, size: int) -> bool:
    pid = server.process.pid
    await server.vector()
    (await send(server, "small", model(1_000_000))).raise_for_status()  # imports what checks need
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # forget the peak of starting
    before, before_all = resident(pid), together(pid)
    sampling = asyncio.create_task(peak(pid))
    answer = await send(server, "large", model(size))
    sampling.cancel()
    grown = await sampling - before_all
    high = resident(pid, "VmHWM") - before
    told = answer.json()
    print(f"answer {answer.status_code}, {told.get('bytes', 0) / 1e6:.0f} MB published")
    print(f"resident before: {before / 1e6:.1f} MB")
    print(f"growth of the server's peak (VmHWM): {high / 1e6:.1f} MB")
    print(f"growth of all its processes, sampled: {grown / 1e6:.1f} MB")
    whole = answer.status_code == 201 and told["bytes"] >= size and not staged(folder)
    return whole and max(grown, high) <= MOST


async def run(size: int) -> int:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        async with running(folder) as server:
            good = await measure(server, folder, size)
    print("good" if good else f"FAILED: more than {MOST / 1e6:.0f} MB, or not published")
    return 0 if good else 1


def main() -> None:
    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else 2_048
    sys.exit(asyncio.run(run(megabytes * 1_000_000)))


if __name__ == "__main__":
    main()
