"""An event loop whose time is a FakeClock: where nothing is ready, the clock jumps to the next timer."""

import asyncio
import functools
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec

from embedwell.testing import FakeClock

P = ParamSpec("P")
LIMIT = 3600.0  # fake seconds of one test: who waits longer waits for ever


class Jumping(selectors.DefaultSelector):
    """Waits by moving the clock."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "nothing will ever wake this loop"
        self._clock.now += max(0.0, timeout)
        return super().select(0)


class FakeTimeLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.clock = FakeClock()
        super().__init__(Jumping(self.clock))

    def time(self) -> float:
        return self.clock()


def clock_of_loop() -> FakeClock:
    """The clock of the loop that runs, or one of its own."""
    loop = asyncio.get_running_loop()
    return loop.clock if isinstance(loop, FakeTimeLoop) else FakeClock()


def fake_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run an async test on a loop of its own, in no time."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        loop = FakeTimeLoop()
        try:
            loop.run_until_complete(asyncio.wait_for(test(*args, **kwargs), LIMIT))
        finally:
            loop.close()

    return run
