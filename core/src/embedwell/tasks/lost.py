"""Threads for calls that may never return."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any, ParamSpec, TypeVar

from embedwell.tasks.threads import BoundedThreads

P = ParamSpec("P")
T = TypeVar("T")


class GivenUp(Exception):
    """A call took too long; `call` is done once it has returned after all."""

    def __init__(self, call: "asyncio.Future[Any]") -> None:
        super().__init__("the call was given up")
        self.call = call


class LosingThreads:
    """Calls in `limit` places, a thread each; one that is given up makes room for another.

    So does one that takes longer than `patience` seconds, and goes on beside the places, where
    fewer than `most` do. `lost` are those that were given up and have not returned. Loop only.
    """

    def __init__(self, limit: int, seconds: float, *, patience: float, most: int) -> None:
        self._places = asyncio.Semaphore(limit)
        self._seconds = seconds
        self._patience = min(patience, seconds)
        self._most = most
        self._beside: set[asyncio.Future[Any]] = set()  # calls that have no place any more
        self.lost = 0

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What it returns or raises; GivenUp once it has taken more than `seconds`."""
        async with AsyncExitStack() as place:
            await place.enter_async_context(self._places)
            call = BoundedThreads(1).begin(function, *args, **kwargs)
            try:
                await asyncio.wait([call], timeout=self._patience)
                if not call.done() and len(self._beside) < self._most:
                    self._goes_on_beside(call)
                    await place.aclose()
                await asyncio.wait([call], timeout=self._seconds - self._patience)
                if call.done():
                    return call.result()
                self._goes_on_beside(call)
                self.lost += 1
                call.add_done_callback(self._returned)
                raise GivenUp(call)
            except asyncio.CancelledError:
                call.cancel()  # it ends by itself, and nobody is told how
                raise
            finally:
                del call  # whose error would keep this frame, and this frame it

    def _goes_on_beside(self, call: "asyncio.Future[Any]") -> None:
        self._beside.add(call)
        call.add_done_callback(self._beside.discard)

    def _returned(self, call: "asyncio.Future[Any]") -> None:
        self.lost -= 1
