"""Keeps a body moving: a least rate, and an end."""

import asyncio
from collections.abc import AsyncIterator, Callable

from embedwell import BodyTimeout

WINDOW = 30.0  # seconds of waiting for the client over which its rate is averaged


class Pace:
    """Pure: raises BodyTimeout for a client below `rate` bytes a second."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._waited = 0.0
        self._came = 0

    def add(self, waited: float, size: int) -> None:
        """`size` bytes came after `waited` seconds; time that the server took is not among them."""
        self._waited += waited
        self._came += size
        if self._waited < WINDOW:
            return
        if self._came < self._rate * self._waited:
            slow = f"{self._came / self._waited / 1000:.1f}"
            raise BodyTimeout(
                f"The upload is too slow: {slow} kB/s, at least {self._rate / 1000:g} are expected"
            )
        self._waited, self._came = 0.0, 0


class Paced:
    """A body as it arrives; raises BodyTimeout where it is too slow or takes too long."""

    def __init__(
        self,
        body: AsyncIterator[bytes],
        *,
        rate: float,
        deadline: float,
        clock: Callable[[], float],
    ) -> None:
        self._body, self._clock, self._deadline = body, clock, deadline
        self._pace = Pace(rate)
        self._ends = clock() + deadline

    def __aiter__(self) -> "Paced":
        return self

    async def __anext__(self) -> bytes:
        before = self._clock()
        chunk = await self._next(self._ends - before)
        self._pace.add(self._clock() - before, len(chunk))
        return chunk

    async def _next(self, left: float) -> bytes:
        if left <= 0:
            raise self._late()
        timer = asyncio.timeout(left)
        try:
            async with timer:
                return await anext(self._body)
        except TimeoutError:
            if timer.expired():
                raise self._late() from None
            raise

    def _late(self) -> BodyTimeout:
        return BodyTimeout(f"The upload did not arrive within {self._deadline:g} seconds")
