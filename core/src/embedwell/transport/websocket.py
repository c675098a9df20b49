"""WebSockets as Hypercorn speaks them, with our envelope for handshakes that fail."""

from http import HTTPStatus

import h11
from hypercorn.protocol.events import Body, EndBody, Event, Response, StreamClosed
from hypercorn.protocol.ws_stream import WSStream

from embedwell.errors import BadRequest, EmbedwellError, Forbidden
from embedwell.http.asgi import header_map
from embedwell.http.refusals import refusal


def is_handshake(request: h11.Request) -> bool:
    """Whether a WebSocket is wished for, in whatever form."""
    if request.method != b"GET":
        return False
    fields = header_map(request.headers)
    tokens = fields.get(b"connection", b"").lower().split(b",")
    wish = fields.get(b"upgrade", b"").strip().lower()
    return wish == b"websocket" and b"upgrade" in map(bytes.strip, tokens)


class WebSocket(WSStream):
    """Hypercorn would answer with a bare status, and leave the connection open for ever."""

    async def handle(self, event: Event) -> None:
        try:
            await super().handle(event)
        except UnicodeDecodeError:  # in a header of the handshake, which wsproto reads as ASCII
            await self._send_error_response(HTTPStatus.BAD_REQUEST)

    async def _send_error_response(self, status_code: int) -> None:
        number = self.stream_id
        status, headers, body = refusal(_error(status_code))
        await self.send(Response(stream_id=number, headers=headers, status_code=status))
        await self.send(Body(stream_id=number, data=body))
        await self.send(EndBody(stream_id=number))
        await self.send(StreamClosed(stream_id=number))


def _error(status: int) -> EmbedwellError:
    if status == HTTPStatus.BAD_REQUEST:
        return BadRequest("The WebSocket handshake is not valid")
    if status == HTTPStatus.FORBIDDEN:
        return Forbidden("The WebSocket was refused")
    return EmbedwellError("The application ended without an answer")
