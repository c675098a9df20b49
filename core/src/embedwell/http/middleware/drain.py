"""Refuses new work while the server is stopping, and knows when the old work is done."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from embedwell.errors import Draining
from embedwell.http.asgi import App, Receive, Scope, Send
from embedwell.http.context import matched
from embedwell.http.leftover import Leftover

BODY_SECONDS = 5.0  # for what is left of a body once the server stops


class Traffic:
    """Requests under way; loop only."""

    def __init__(self) -> None:
        self.draining = False
        self._requests: set[Leftover] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._timers: set[asyncio.Timeout] = set()
        self._streams: set[asyncio.Timeout] = set()
        self._bodies: set[asyncio.Timeout] = set()

    def begin(self, request: Leftover) -> None:
        """It is under way until its `end`."""
        self._requests.add(request)
        self._idle.clear()

    def end(self, request: Leftover) -> None:
        """The request is over."""
        self._requests.discard(request)
        if not self._requests:
            self._idle.set()

    @property
    def in_flight(self) -> int:
        """Requests under way."""
        return len(self._requests)

    @property
    def unanswered(self) -> int:
        """Of them, those whose answer is still to be made, not only to be taken by its client."""
        return sum(not request.answered for request in self._requests)

    def until_cut(self, *, stream: bool) -> AbstractAsyncContextManager[None]:
        """Ends what it holds, a body that is awaited too, with Draining once it is cut.

        `cut` does that, to a stream already `drain`: it could outlast any grace period.
        """
        timers = self._streams if stream else self._timers
        return self._until(timers, 0 if stream and self.draining else None)

    def while_it_comes(self) -> AbstractAsyncContextManager[None]:
        """Ends the wait for a body with Draining, BODY_SECONDS after `drain`."""
        return self._until(self._bodies, BODY_SECONDS if self.draining else None)

    @asynccontextmanager
    async def _until(
        self, timers: set[asyncio.Timeout], seconds: float | None
    ) -> AsyncIterator[None]:
        timer = asyncio.timeout(seconds)
        timers.add(timer)
        try:
            async with timer:
                yield
        except TimeoutError:
            if timer.expired():
                raise Draining("The server stopped before the request was done") from None
            raise
        finally:
            timers.discard(timer)

    def drain(self) -> None:
        """New work is refused from now on, and bodies that stream are given up."""
        self.draining = True
        _expire(self._streams)
        _expire(self._bodies, BODY_SECONDS)

    def cut(self) -> None:
        """The grace period is over."""
        _expire(self._streams | self._timers)

    async def idle(self) -> None:
        """Returns when no request is under way."""
        await self._idle.wait()


def _expire(timers: Iterable[asyncio.Timeout], seconds: float = 0.0) -> None:
    when = asyncio.get_running_loop().time() + seconds
    for timer in timers:
        if not timer.expired():
            timer.reschedule(when)


class Drain:
    """Lets only public routes pass once draining began."""

    def __init__(self, traffic: Traffic) -> None:
        self._traffic = traffic

    async def __call__(self, scope: Scope, receive: Receive, send: Send, then: App) -> None:
        if self._traffic.draining and matched(scope).access != "public":
            raise Draining()
        await then(scope, receive, send)
