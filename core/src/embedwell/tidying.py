"""What the allocator keeps of past batches goes back to the device."""

import asyncio
import logging
from collections.abc import Callable

from embedwell.interfaces.events import BatchRun, Event
from embedwell.tasks.threads import BoundedThreads

log = logging.getLogger("embedwell.runtime")

# Batches take other sizes each time, between which 200 MB get stuck. Handing it back takes some
# 20 ms of a processor, and fetching it again as long.
PAUSE = 10.0  # seconds


class Tidying:
    """Calls `forget` in a thread within `pause` seconds of a batch, not more often; loop only."""

    def __init__(self, forget: Callable[[], None], pause: float = PAUSE) -> None:
        self._forget = forget
        self._pause = pause
        self._threads = BoundedThreads(1)
        self._task: asyncio.Task[None] | None = None
        self._due = self._told = self._closed = False

    def observe(self, event: Event) -> None:
        """A batch has run: there is something to hand back."""
        if isinstance(event, BatchRun) and not self._closed:
            self._due = True
            if self._task is None:
                self._task = asyncio.get_running_loop().create_task(self._tidy())

    async def _tidy(self) -> None:
        try:
            while self._due:
                await asyncio.sleep(self._pause)
                self._due = False
                await self._hand_back()
        finally:
            self._task = None

    async def _hand_back(self) -> None:
        try:
            await self._threads.run(self._forget)
        except Exception:
            if not self._told:
                log.exception("memory could not be handed back")
            self._told = True

    async def aclose(self) -> None:
        """Nothing is handed back any more; a call that has begun ends by itself."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
