"""HTTP/1.1 as Hypercorn speaks it, with our words for what is not HTTP/1.1."""

import re
from collections.abc import Iterator
from dataclasses import replace
from http import HTTPStatus
from typing import Any

import h11
from hypercorn.events import Closed, Event
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.events import Request, Response
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol, H11WSConnection
from hypercorn.protocol.http_stream import HTTPStream

from embedwell.http.answer import Header
from embedwell.http.asgi import App, is_crowded
from embedwell.http.refusals import broken, crowd, refusal
from embedwell.transport.websocket import WebSocket, is_handshake

VERSIONS = (b"1.0", b"1.1")
ABSOLUTE = re.compile(rb"https?://([^/?#]*)", re.IGNORECASE)
CLOSE = (b"connection", b"close")


class OtherVersion(Exception):
    """The client speaks another version of HTTP."""


class Patient(h11.Connection):
    """Hypercorn says "100 Continue" to who waits for it before anybody has looked at the head.

    So it is told that nobody waits; `Http1` says it when the body is wanted.
    """

    @property
    def they_are_waiting_for_100_continue(self) -> bool:
        return False


class Http1(H11Protocol):
    """One connection's requests and answers.

    HTTP/2 is left out, on purpose: vectors gain nothing by it, and Hypercorn's cannot be bounded
    as this is (streams opened and reset, bodies after an early answer). A wish to upgrade is
    ignored, as RFC 9110 allows; who begins with HTTP/2 is told.
    """

    def __init__(self, app: App, *given: Any) -> None:
        """`given` as Hypercorn has them."""
        super().__init__(self._run, *given)
        self._asgi = app
        self.connection = Patient(
            h11.SERVER, max_incomplete_event_size=self.config.h11_max_incomplete_size
        )

    async def handle(self, event: Event) -> None:
        try:
            await super().handle(event)
        except OtherVersion:
            await self._send_error_response(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
            await self.send(Closed())

    def too_many(self) -> bytes:
        """What a connection too many is told that has asked for nothing yet."""
        events = self._refusal(refusal(crowd()))
        return b"".join(self.connection.send(event) or b"" for event in events)

    async def stream_send(self, event: StreamEvent) -> None:
        if isinstance(event, Response) and event.status_code >= HTTPStatus.OK and self._is_last():
            event = replace(event, headers=[*event.headers, CLOSE])
        await super().stream_send(event)

    def _is_last(self) -> bool:
        """Whether the connection ends: it is one too many, or a body may come or not."""
        return is_crowded(self.connection_state) or self._is_awaited()

    def _is_awaited(self) -> bool:
        """Whether the client holds its body back until it is told to go on."""
        client = self.connection
        return isinstance(client, Patient) and client.client_is_waiting_for_100_continue

    async def _run(
        self, scope: Any, receive: Any, send: Any, sync_spawn: Any, call_soon: Any
    ) -> None:
        async def wanting() -> Any:
            if self._is_awaited():
                headers = self.config.response_headers("h11")
                await self._send_h11_event(
                    h11.InformationalResponse(status_code=HTTPStatus.CONTINUE, headers=headers)
                )
            return await receive()

        await self._asgi(scope, wanting if self._is_awaited() else receive, send)

    async def _check_protocol(self, event: h11.Request) -> None:
        if event.http_version not in VERSIONS:
            raise OtherVersion

    async def _create_stream(self, request: h11.Request) -> None:
        target, headers = _origin_form(request.target, list(request.headers))
        given = (
            self.app, self.config, self.context, self.task_group, self.ssl,
            self.client, self.server, self.stream_send, STREAM_ID,
        )  # fmt: skip
        if isinstance(self.connection, h11.Connection) and is_handshake(request):
            self.stream = WebSocket(*given)
            self.connection = H11WSConnection(self.connection)
        else:
            self.stream = HTTPStream(*given)
        await self.stream.handle(
            Request(
                stream_id=STREAM_ID,
                headers=headers,
                http_version=request.http_version.decode(),
                method=request.method.decode().upper(),
                raw_path=target,
                state=self.connection_state,
            )
        )
        self.keep_alive_requests += 1

    async def _send_error_response(self, status_code: int) -> None:
        for event in self._refusal(refusal(broken(HTTPStatus(status_code)))):
            await self._send_h11_event(event)

    def _refusal(
        self, told: tuple[int, list[Header], bytes]
    ) -> Iterator[h11.Response | h11.Data | h11.EndOfMessage]:
        status, headers, body = told
        headers += self.config.response_headers("h11")
        yield h11.Response(status_code=status, headers=headers)
        yield h11.Data(data=body)
        yield h11.EndOfMessage()


def _origin_form(target: bytes, headers: list[Header]) -> tuple[bytes, list[Header]]:
    """A target as a path; an absolute one's authority takes the place of Host (RFC 9112, 3.2.2)."""
    found = None if target.startswith(b"/") else ABSOLUTE.match(target)
    if found is None:
        return target, headers
    rest = target[found.end() :]
    others = [(name, value) for name, value in headers if name != b"host"]
    return rest if rest.startswith(b"/") else b"/" + rest, [(b"host", found[1]), *others]
