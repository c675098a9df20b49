"""Lets an answer out while its request's body still comes in."""

import asyncio

from embedwell.http.asgi import Message, Receive, Send


class Leftover:
    """Between the server and one request.

    Hypercorn ends a request by one more message for its handler, into a queue of ten: where that
    is full of a body which nobody reads any more, it would wait there for ever, deaf even to a
    client that leaves. So whatever comes during the end of the answer is read and dropped.
    """

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._read = False

    async def receive(self) -> Message:
        """As the server's own."""
        message = await self._receive()
        self._read = not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        """As the server's own."""
        last = message["type"] == "http.response.body" and not message.get("more_body", False)
        if self._read or not last:
            await self._send(message)
            return
        dropping = asyncio.ensure_future(self._drop())
        try:
            await self._send(message)
        finally:
            dropping.cancel()
            await asyncio.wait([dropping])

    async def _drop(self) -> None:
        while not self._read:
            await self.receive()
