"""Bounded threads for code that blocks."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class BoundedThreads:
    """At most `limit` threads, given-up calls included; the rest wait without holding the loop."""

    def __init__(self, limit: int) -> None:
        self._executor = ThreadPoolExecutor(limit, thread_name_prefix="embedwell")

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What it returns or raises; when cancelled, a call that has begun ends by itself."""
        return await self.begin(function, *args, **kwargs)

    def begin(
        self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> "asyncio.Future[T]":
        """As `run`, for one who may not wait for its end; on the loop."""
        call = partial(_called, partial(function, *args, **kwargs))
        return asyncio.get_running_loop().run_in_executor(self._executor, call)


def _called(call: Callable[[], T]) -> T:
    try:
        return call()
    except StopIteration as error:  # no future takes one: whoever waits would wait for ever
        raise RuntimeError("a call in a thread raised StopIteration") from error
