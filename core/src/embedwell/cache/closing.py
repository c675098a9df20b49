"""How encoders end: each in bounded time; one that takes longer is a leak until it has ended."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from embedwell.cache.books import Books
from embedwell.cache.loading import Loader
from embedwell.interfaces.encoders import Encoder

log = logging.getLogger("embedwell.cache")

UNLOAD_SECONDS = 30.0  # that an unload may take before others no longer wait for it


class Closing:
    """`changed` is called after each end, in time or late."""

    def __init__(self, books: Books, loader: Loader, changed: Callable[[], None]) -> None:
        self._books = books
        self._loader = loader
        self._changed = changed
        self._tasks: set[asyncio.Task[None]] = set()
        self._leaks = 0

    async def close(self, encoder: Encoder, tag: str) -> None:
        """Unload it, but wait for that a bounded time: what does not end is a leak."""
        task = owned(self._tasks, self._unload(encoder, tag), self._changed)
        done, _ = await asyncio.wait([task], timeout=UNLOAD_SECONDS)
        if not done:
            self._leak(task, encoder, tag)

    async def aclose(self) -> None:
        """Stop waiting; what has not ended goes with the process."""
        await stopped(self._tasks)

    async def _unload(self, encoder: Encoder, tag: str) -> None:
        try:
            await self._loader.unload(encoder)
        except (asyncio.CancelledError, GeneratorExit):
            raise
        except BaseException:  # SystemExit would end the loop
            log.exception("unloading %s failed", tag)
        self._books.freed()

    def _leak(self, task: "asyncio.Task[None]", encoder: Encoder, tag: str) -> None:
        log.error("unloading %s does not end: its memory stays in use", tag)
        self._leaks += 1
        number = self._leaks
        self._books.leaking[number] = encoder.facts.need.weights
        task.add_done_callback(lambda _: self._books.leaking.pop(number))


def owned(
    tasks: set[asyncio.Task[None]], work: Coroutine[Any, Any, None], changed: Callable[[], None]
) -> asyncio.Task[None]:
    """A task that is one of `tasks` until it ends, and then calls `changed`."""
    task = asyncio.get_running_loop().create_task(work)
    tasks.add(task)
    task.add_done_callback(tasks.discard)
    task.add_done_callback(lambda _: changed())
    return task


async def stopped(tasks: set[asyncio.Task[None]]) -> None:
    """Cancel these, and return when they have ended."""
    running = set(tasks)
    for task in running:
        task.cancel()
    if running:
        await asyncio.wait(running)
