"""Handshakes over sockets: accepted by a mount, or refused with the envelope and an end."""

import json
from typing import Any

import pytest

from embedwell.interfaces.routes import Mount
from tests.core.http.fake_core import app_of
from tests.core.transport.listening_app import Peer, listening_app

FIELDS = {
    "Host": "localhost",
    "Connection": "keep-alive, Upgrade",
    "Upgrade": "WebSocket",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}
FRAME = b"\x81\x80\x00\x00\x00\x00"


def handshake(path: str, **fields: str) -> bytes:
    given = FIELDS | {name.replace("_", "-"): value for name, value in fields.items()}
    lines = [f"{name}: {value}" for name, value in given.items() if value]
    return "\r\n".join([f"GET {path} HTTP/1.1", *lines, "", ""]).encode("latin-1")


async def accepting(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": "hello"})
    await send({"type": "websocket.close"})


async def refusing(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "websocket.close"})


async def forgetting(scope: Any, receive: Any, send: Any) -> None:
    """Ends without an answer."""


MOUNTS = [
    Mount(prefix="/open", app=accepting, access="public"),
    Mount(prefix="/shut", app=refusing, access="public"),
    Mount(prefix="/lost", app=forgetting, access="public"),
]


async def test_a_mount_may_accept() -> None:
    async with listening_app(app_of(*MOUNTS)) as port:
        peer = await Peer.connect(port)
        await peer.send(handshake("/open"))
        head = await peer.reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101")
        assert await peer.reader.readexactly(7) == b"\x81\x05hello"
        peer.close()


@pytest.mark.parametrize(
    ("sent", "status", "code", "detail"),
    [
        (handshake("/nothing"), 404, "NOT_FOUND", "Route not found: /nothing; GET /docs lists those there are"),
        (handshake("/embeddings"), 404, "NOT_FOUND", "Route not found: /embeddings; GET /docs lists those there are"),
        (handshake("/open", Sec_WebSocket_Key=""), 400, "BAD_REQUEST",
         "The WebSocket handshake is not valid"),
        (handshake("/open", Sec_WebSocket_Version="8"), 400, "BAD_REQUEST",
         "The WebSocket handshake is not valid"),
        (handshake("/open", Sec_WebSocket_Protocol="\xff"), 400, "BAD_REQUEST",
         "The WebSocket handshake is not valid"),
        (handshake("/open", Connection="Upgrade, \xff"), 400, "BAD_REQUEST",
         "The WebSocket handshake is not valid"),
        (handshake("/nothing") + FRAME, 400, "BAD_REQUEST",
         "The WebSocket handshake is not valid"),
        (handshake("/shut"), 403, "FORBIDDEN", "The WebSocket was refused"),
    ],
)  # fmt: skip
async def test_a_refused_handshake_gets_the_envelope_and_an_end(
    sent: bytes, status: int, code: str, detail: str
) -> None:
    async with listening_app(app_of(*MOUNTS)) as port:
        peer = await Peer.connect(port)
        await peer.send(sent)
        given, body = await peer.answer()
        told = json.loads(body)
        assert (given, told["code"], told["detail"]) == (status, code, detail)
        assert await peer.closed() == b""


async def test_a_mount_that_does_not_answer_is_a_fault_of_ours() -> None:
    async with listening_app(app_of(*MOUNTS)) as port:
        peer = await Peer.connect(port)
        await peer.send(handshake("/lost"))
        status, body = await peer.answer()
        assert (status, json.loads(body)["code"]) == (500, "INTERNAL")
        assert await peer.closed() == b""
