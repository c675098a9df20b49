"""A Reply as ASGI's two messages."""

from collections.abc import Iterable

import msgspec

from embedwell.http import wire
from embedwell.http.asgi import Message, Send
from embedwell.interfaces.routes import Reply

NO_CONTENT = 204
Header = tuple[bytes, bytes]


def content(reply: Reply) -> bytes:
    """A Reply's body as it goes out."""
    if reply.status == NO_CONTENT:
        return b""
    if isinstance(reply.body, bytes):
        return reply.body
    return msgspec.json.encode(wire.body(reply.body))


async def answer(reply: Reply, send: Send, extra: Iterable[Header] = ()) -> None:
    """Sends all of it; `extra` headers go last."""
    body = content(reply)
    headers = [(name.encode(), value.encode("latin-1")) for name, value in reply.headers.items()]
    if reply.status != NO_CONTENT:  # with a length, a client would wait for what may not come
        headers += _described(reply, body)
    headers += extra
    start: Message = {"type": "http.response.start", "status": reply.status, "headers": headers}
    await send(start)
    await send({"type": "http.response.body", "body": body, "more_body": False})


def _described(reply: Reply, body: bytes) -> tuple[Header, Header]:
    return (b"content-type", reply.content_type.encode()), (b"content-length", b"%d" % len(body))
