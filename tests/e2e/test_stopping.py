"""A server that is told to stop, whatever it is at; `make stopping` has it for other Pythons."""

import asyncio
import sys
from pathlib import Path

from tests.faults.stops import CASES, stopped

SLACK = 30.0  # seconds that a busy machine may take for what is due at once


async def test_a_server_that_is_told_to_stop(tmp_path: Path) -> None:
    folders = [tmp_path / name.replace(" ", "-") for name in CASES]
    ends = [
        stopped(name, folder, sys.executable, SLACK)
        for name, folder in zip(CASES, folders, strict=True)
    ]
    found = await asyncio.gather(*ends, return_exceptions=True)
    failed = {n: repr(end) for n, end in zip(CASES, found, strict=True) if isinstance(end, BaseException)}
    assert failed == {}
