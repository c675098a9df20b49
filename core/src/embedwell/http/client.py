"""The client's end of one request: the body it sends, then whether it is still there."""

import asyncio

from embedwell.http.asgi import Message, Receive

EMPTY: Message = {"type": "http.request", "body": b"", "more_body": False}
LEFT: Message = {"type": "http.disconnect"}


class Client:
    """Splits `receive` in two: a handler reads the body, and whoever may cancel it waits.

    Only one of them calls the server at a time, so that a body nobody reads is pushed back. With
    `reading` false there is no body for a handler, and whatever arrives is dropped.
    """

    def __init__(self, receive: Receive, reading: bool) -> None:
        self._receive = receive
        self._read = asyncio.Event()
        self._gone = False
        self._opened = False
        self._departed = asyncio.Event()
        self._watcher: asyncio.Task[None] | None = None
        if not reading:
            self._read.set()

    async def chunk(self) -> bytes | None:
        """The next bytes of the body, None at its end; a client that left is a cancellation."""
        while not self._read.is_set():
            message = await self._next()
            if message.get("body"):
                return bytes(message["body"])
        return None

    async def _next(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self._gone = True
            self._read.set()
            raise asyncio.CancelledError("the client left")
        if not message.get("more_body", False):
            self._read.set()
        return message

    @property
    def gone(self) -> bool:
        """Whether it was seen to leave."""
        return self._gone

    async def left(self) -> None:
        """Returns when the client has gone, looking only once the body was read."""
        await self._read.wait()
        while not self._gone:
            self._gone = (await self._receive())["type"] == "http.disconnect"
        self._departed.set()

    async def valve(self) -> Message:
        """For Quart: a body that is empty and complete, then the client's leaving."""
        if not self._opened:
            self._opened = True
            return EMPTY
        self._watcher = asyncio.current_task()
        if not self._gone:
            await self.left()
        return LEFT

    def hang_up(self) -> None:
        """Make Quart believe that the client left."""
        self._gone = self._opened = True
        if self._watcher is not None:
            self._watcher.cancel()

    async def forward(self) -> Message:
        """For an application of its own, while `left` runs beside it: what `receive` would say."""
        if not self._read.is_set():
            self._opened = True
            return await self._next()
        if not self._opened:
            self._opened = True
            return EMPTY
        await self._departed.wait()
        await asyncio.sleep(0)  # whoever ignores this and asks again must not hold the loop
        return LEFT
