"""What Hypercorn says to bytes that are no request: the envelope, as everybody else."""

import logging

import h11
import hypercorn.protocol
from hypercorn.protocol.h11 import H11Protocol

from embedwell.errors import BadRequest, EmbedwellError, HeadersTooLarge
from embedwell.http import envelope
from embedwell.http.answer import content
from embedwell.http.middleware.request_id import NAME, new_id

log = logging.getLogger("embedwell.access")

TOO_LARGE, NOT_IMPLEMENTED = 431, 501


def install() -> None:
    """For every Hypercorn of this process, from its next connection on; may be called again."""
    hypercorn.protocol.H11Protocol = Refusing  # type: ignore[misc]


class Refusing(H11Protocol):
    """Closes the connection after a refusal, as its parent does: where it ends nobody knows."""

    async def _send_error_response(self, status_code: int) -> None:
        request_id = new_id()
        reply = envelope.reply(_error(status_code), request_id, v1=False)
        body = content(reply)
        log.info("no request %d id=%s", reply.status, request_id)
        headers = [
            (b"content-type", reply.content_type.encode()),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
            (NAME, request_id.encode()),
            *self.config.response_headers("h11"),
        ]
        await self._send_h11_event(h11.Response(status_code=reply.status, headers=headers))
        await self._send_h11_event(h11.Data(data=body))
        await self._send_h11_event(h11.EndOfMessage())


def _error(status: int) -> EmbedwellError:
    if status == TOO_LARGE:
        return HeadersTooLarge("The request's head is too large")
    if status == NOT_IMPLEMENTED:
        return BadRequest("The only Transfer-Encoding that is taken is chunked")
    return BadRequest("The request is not valid HTTP/1.1")
