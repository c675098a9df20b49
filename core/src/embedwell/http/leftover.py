"""Lets an answer out while its request's body still comes in."""

import asyncio
from contextlib import suppress

from embedwell.http.asgi import Message, Receive, Send

LONGEST = 2.0  # seconds that a body is read on, to no purpose but its client's
SILENCE = 0.2  # seconds without a byte, after which nothing more is expected
END: Message = {"type": "http.response.body", "body": b"", "more_body": False}


class Leftover:
    """Between the server and one request: holds the end of an early answer back until `finish`.

    A server that closes a connection on which bytes arrive resets it, and many clients lose the
    answer with it: so they may go on for a moment. And Hypercorn ends a request by one more
    message for its handler, into a queue of ten: where that is full of a body which nobody reads,
    it would wait for ever, deaf even to a client that leaves.
    """

    def __init__(
        self, receive: Receive, send: Send, *, longest: float = LONGEST, silence: float = SILENCE
    ) -> None:
        self._receive = receive
        self._send = send
        self._longest, self._silence = longest, silence
        self._read = False
        self._held = False
        self.answered = False  # the whole answer was made, if not taken by its client

    async def receive(self) -> Message:
        """As the server's own."""
        message = await self._receive()
        self._read = not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        """As the server's own, but that an early answer is not ended yet."""
        last = message["type"] == "http.response.body" and not message.get("more_body", False)
        self.answered |= last
        if last and not self._read:
            self._held = True
            message = {**message, "more_body": True}
        await self._send(message)

    async def finish(self) -> None:
        """Once nothing else reads: drop what comes, and end the answer."""
        if not self._held:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(self._longest):
                await self._drop(self._silence)
        dropping = asyncio.ensure_future(self._drop(None))
        try:
            await self._send(END)
        finally:
            dropping.cancel()
            await asyncio.wait([dropping])

    async def _drop(self, silence: float | None) -> None:
        while not self._read:
            async with asyncio.timeout(silence):
                await self.receive()
