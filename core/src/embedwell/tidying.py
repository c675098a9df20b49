"""What the allocator keeps of past batches goes back to the device while models compute."""

import asyncio
import logging
from collections.abc import Callable

from embedwell.interfaces.events import BatchRun, Event
from embedwell.tasks.threads import BoundedThreads

log = logging.getLogger("embedwell.runtime")

# Batches take other sizes each time, between which a quarter of a gigabyte gets stuck. Handing it
# back takes some 20 ms of a processor, and fetching it again as long.
PAUSE = 10.0  # seconds


class Tidying:
    """Calls `forget` in a thread, `pause` seconds after a batch and not more often; loop only."""

    def __init__(self, forget: Callable[[], None], pause: float = PAUSE) -> None:
        self._forget = forget
        self._pause = pause
        self._threads = BoundedThreads(1)
        self._waiting: asyncio.Task[None] | None = None
        self._closed = False

    def observe(self, event: Event) -> None:
        """A batch has run: there is something to hand back."""
        if isinstance(event, BatchRun) and self._waiting is None and not self._closed:
            self._waiting = asyncio.get_running_loop().create_task(self._tidy())

    async def _tidy(self) -> None:
        try:
            await asyncio.sleep(self._pause)
            await self._threads.run(self._forget)
        except Exception:
            log.exception("memory could not be handed back")
        finally:
            self._waiting = None

    async def aclose(self) -> None:
        """Nothing is handed back any more; a call that has begun ends by itself."""
        self._closed = True
        if self._waiting is not None:
            self._waiting.cancel()
            await asyncio.wait([self._waiting])
