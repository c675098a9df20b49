"""A connection that asks again when it has its answer, without a task or a future for each."""

import asyncio
import os
import re
import ssl
from time import monotonic_ns
from typing import Protocol, cast

from embedwell.bench.framing import Answer, Garbled
from embedwell.bench.target import Target
from embedwell.bench.tls import advice

ERRNO = re.compile(r"\[Errno (\d+)\]")
FAILED = 0.1  # seconds until a connection that failed is tried again


class Asker(Protocol):
    """Whose requests a connection sends; all is called on the loop."""

    def take(self) -> bytes | None:
        """The next request; None ends the connection."""

    def answered(self, slot: int, begun: int, ended: int, answer: Answer) -> None:
        """One whole answer, of any status; from write to last byte, in monotonic ns."""

    def failed(self, slot: int, begun: int, kind: str) -> None:
        """One request without an answer, or no connection to send it on."""


class Connection(asyncio.Protocol):
    """`stopped` is done when there is nothing more to ask, or the connection is of no more use; it
    has the seconds that the next connection should wait.
    """

    def __init__(self, asker: Asker, slot: int, patience: float) -> None:
        self._loop = asyncio.get_running_loop()
        self.stopped: asyncio.Future[float] = self._loop.create_future()
        self._asker, self._slot, self._patience = asker, slot, patience
        self._answer = Answer()
        self._begun = 0  # 0 where no answer is awaited
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._timer = self._loop.call_later(self._patience, self._look)
        self._ask()

    def data_received(self, data: bytes) -> None:
        try:
            whole = self._answer.feed(data)
        except Garbled as error:
            self._fail(f"garbled answer: {error}")
            return
        if whole:
            self._answered(self._answer)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail("connection reset" if exc else "connection closed before the answer")

    def stop(self, pause: float = 0.0) -> None:
        """Closes at once; what is awaited is not reported."""
        self._begun = 0
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.abort()
        if not self.stopped.done():
            self.stopped.set_result(pause)

    def _ask(self) -> None:
        request = self._asker.take()
        if request is None or self._transport is None:
            self.stop()
            return
        self._answer = Answer()
        self._begun = monotonic_ns()
        self._transport.write(request)

    def _answered(self, answer: Answer) -> None:
        begun, self._begun = self._begun, 0
        self._asker.answered(self._slot, begun, monotonic_ns(), answer)
        if answer.status == 429:
            self.stop(answer.pause)
        elif answer.closes:
            self.stop()
        else:
            self._ask()

    def _fail(self, kind: str) -> None:
        begun = self._begun
        self.stop(FAILED)
        if begun:
            self._asker.failed(self._slot, begun, kind)

    def _look(self) -> None:
        left = self._patience - (monotonic_ns() - self._begun) / 1e9
        if left <= 0:
            self._fail("timeout")
        else:  # one timer per connection, set anew when it fires, costs nothing per request
            self._timer = self._loop.call_later(left, self._look)


async def connect(to: Target, asker: Asker, slot: int, patience: float) -> Connection | None:
    """A connection that asks already; None where there is none, which the asker is told."""
    loop = asyncio.get_running_loop()
    secure = ssl.create_default_context() if to.secure else None
    begun = monotonic_ns()
    try:
        async with asyncio.timeout(patience):
            _, made = await loop.create_connection(
                lambda: Connection(asker, slot, patience), to.host, to.port, ssl=secure
            )
    except TimeoutError:
        asker.failed(slot, begun, "timeout")
    except (OSError, UnicodeError) as error:
        asker.failed(slot, begun, f"no connection: {_reason(error)}")
    else:
        return made
    return None


def _reason(error: Exception) -> str:
    if told := advice(error):
        return told
    number = ERRNO.search(str(error))  # asyncio's own text has addresses, and one number for each
    if number:
        return os.strerror(int(number[1]))
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
