"""A log that nobody reads: the server serves, and ends, all the same."""

import asyncio
import fcntl
import os
import sys
from pathlib import Path

import httpx

from tests.faults.child import ROOT, Child
from tests.faults.stops import SPARE

GRACE = 5.0
REQUESTS = 400  # with more than 300 bytes of log each: more than a pipe holds


async def test_a_log_that_nobody_reads_holds_up_neither_requests_nor_the_end(
    tmp_path: Path,
) -> None:
    (tmp_path / "config.toml").write_text(f"[server]\ngrace_seconds = {GRACE}\n")
    unread, log = os.pipe()
    room = fcntl.fcntl(log, fcntl.F_GETPIPE_SZ)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.faults.fake_serve", str(tmp_path),
        cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=log,
    )  # fmt: skip
    os.close(log)
    child = Child(process, tmp_path)
    try:
        await child.ready()
        url = f"http://localhost:{child.port}"
        async with httpx.AsyncClient(base_url=url, timeout=60) as http:
            for _ in range(REQUESTS):
                assert (await http.get("/" + "x" * 300)).status_code == 404
        child.stop()
        assert await child.ended(GRACE + SPARE) == 0
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        with os.fdopen(unread, "rb") as file:
            written = file.read()
    assert room // 2 < len(written) <= room, "the pipe was full"
    assert written.count(b" GET /xxx") < REQUESTS
