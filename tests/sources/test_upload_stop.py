"""A real process that is told to stop while an upload stalls."""

import asyncio
import signal
from pathlib import Path

from tests.faults.upload_server import running, staged
from tests.sources.upload_driver import raw


async def test_a_stalled_upload_does_not_hold_the_end_up(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        port = server.client.base_url.port
        assert port
        async with raw(
            port, method="PUT", query="?model=m", length=9_000_000, headers=[]
        ) as connection:
            await connection.send(bytes(5_000_000))
            async with asyncio.timeout(20):
                while not staged(tmp_path):
                    await asyncio.sleep(0)
            server.process.send_signal(signal.SIGTERM)
            status, told = await connection.answer()
        assert (status, told["code"]) == (503, "DRAINING")
        assert await asyncio.wait_for(server.process.wait(), 25) == 0  # the grace period is 30 s
    assert staged(tmp_path) == []
