"""A closed loop: so many connections, each with one request in flight."""

import asyncio

from embedwell.bench.connection import Asker, connect
from embedwell.bench.target import Target
from embedwell.bench.window import Seen, Window

PAUSE = 0.1  # seconds until a connection that failed is tried again


async def load(to: Target, window: Window, connections: int, patience: float) -> Seen:
    """Returns when the window is closed and everything in flight has ended."""
    async with asyncio.TaskGroup() as group:
        for slot in range(connections):
            group.create_task(_slot(to, window, slot, patience))
    return window.seen


async def _slot(to: Target, window: Window, slot: int, patience: float) -> None:
    while not window.closed:
        if not await busy(to, window, slot, patience):
            await asyncio.sleep(PAUSE)


async def busy(to: Target, asker: Asker, slot: int, patience: float) -> bool:
    """One connection from its opening until it is of no more use; whether it ended well."""
    connection = await connect(to, asker, slot, patience)
    if connection is None:
        return False
    try:
        return await connection.stopped
    finally:
        connection.stop()
