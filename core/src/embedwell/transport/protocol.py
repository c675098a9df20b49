"""HTTP/1.1 as Hypercorn speaks it, with our words for what is not HTTP/1.1."""

from http import HTTPStatus

import h11
from hypercorn.events import Closed, Event
from hypercorn.protocol.h11 import H11Protocol

from embedwell.http.refusals import refusal

VERSIONS = (b"1.0", b"1.1")


class OtherVersion(Exception):
    """The client speaks another version of HTTP."""


class Http1(H11Protocol):
    """One connection's requests and answers.

    HTTP/2 is left out, on purpose: vectors gain nothing by it, and Hypercorn's cannot be bounded
    as this is (streams opened and reset, bodies after an early answer). A wish to upgrade is
    ignored, as RFC 9110 allows; who begins with HTTP/2 is told.
    """

    async def handle(self, event: Event) -> None:
        try:
            await super().handle(event)
        except OtherVersion:
            await self._send_error_response(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
            await self.send(Closed())

    async def refuse(self) -> None:
        """Answers, unasked, that there are too many connections."""
        await self._send_error_response(HTTPStatus.TOO_MANY_REQUESTS)

    async def _check_protocol(self, event: h11.Request) -> None:
        if event.http_version not in VERSIONS:
            raise OtherVersion

    async def _send_error_response(self, status_code: int) -> None:
        status, headers, body = refusal(HTTPStatus(status_code))
        headers += self.config.response_headers("h11")
        await self._send_h11_event(h11.Response(status_code=status, headers=headers))
        await self._send_h11_event(h11.Data(data=body))
        await self._send_h11_event(h11.EndOfMessage())
