"""Threads for calls that may never return."""

import asyncio
from collections.abc import Callable
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
    """At most `limit` calls at once, a thread each; one that is given up makes room for another.

    `lost` are those that were given up and have not returned. Loop only.
    """

    def __init__(self, limit: int, seconds: float) -> None:
        self._places = asyncio.Semaphore(limit)
        self._seconds = seconds
        self.lost = 0

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What it returns or raises; GivenUp once it has taken more than `seconds`."""
        async with self._places:
            call = BoundedThreads(1).begin(function, *args, **kwargs)
            try:
                await asyncio.wait([call], timeout=self._seconds)
                if call.done():
                    return call.result()
                self.lost += 1
                call.add_done_callback(self._returned)
                raise GivenUp(call)
            except asyncio.CancelledError:
                call.cancel()  # it ends by itself, and nobody is told how
                raise
            finally:
                del call  # whose error would keep this frame, and this frame it

    def _returned(self, call: "asyncio.Future[Any]") -> None:
        self.lost -= 1
