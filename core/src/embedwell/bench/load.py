"""A closed loop: so many connections, each with one request in flight."""

import asyncio
from contextlib import suppress

from embedwell.bench.connection import FAILED, Asker, connect
from embedwell.bench.target import Target
from embedwell.bench.window import Seen, Window


async def load(to: Target, window: Window, connections: int, patience: float) -> Seen:
    """Returns when the window is closed and everything in flight has ended."""
    async with asyncio.TaskGroup() as group:
        for slot in range(connections):
            group.create_task(_slot(to, window, slot, patience))
    return window.seen


async def _slot(to: Target, window: Window, slot: int, patience: float) -> None:
    while not window.over.is_set():
        pause = await busy(to, window, slot, patience)
        with suppress(TimeoutError):
            await asyncio.wait_for(window.over.wait(), pause)


async def busy(to: Target, asker: Asker, slot: int, patience: float) -> float:
    """One connection, until it is of no more use; the seconds that the next should wait."""
    connection = await connect(to, asker, slot, patience)
    if connection is None:
        return FAILED
    try:
        return await connection.stopped
    finally:
        connection.stop()
