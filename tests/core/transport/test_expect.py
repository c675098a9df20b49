"""Clients that hold their bodies back until they are told to go on."""

import json

import pytest

from embedwell.app import create_app
from embedwell.errors import Unauthorized
from embedwell.interfaces.plugins import Caller, Plugin, RequestHead
from tests.core.http.fake_core import TAG, FakeCore, app_of
from tests.core.transport.listening_app import Peer, listening_app

BODY = json.dumps({"model": TAG, "input": "a"}).encode()


def head(
    path: str = "/embeddings", length: int = len(BODY), kind: str = "application/json"
) -> bytes:
    lines = [
        f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Type: {kind}",
        f"Content-Length: {length}", "Expect: 100-continue", "", "",
    ]  # fmt: skip
    return "\r\n".join(lines).encode()


@pytest.mark.parametrize(
    ("sent", "status"),
    [(head(length=10**10), 413), (head("/nothing"), 404), (head(kind="text/plain"), 415),
     (head("/health"), 405)],
)  # fmt: skip
async def test_a_refusal_comes_instead_of_a_wish_for_the_body(sent: bytes, status: int) -> None:
    async with listening_app(app_of()) as port:
        await refused(port, sent, status)


async def refused(port: int, sent: bytes, status: int) -> None:
    peer = await Peer.connect(port)
    await peer.send(sent)
    told = await peer.closed()
    assert told.startswith(b"HTTP/1.1 %d" % status)
    assert told.count(b"HTTP/1.1") == 1
    assert b"\r\nconnection: close\r\n" in told.lower(), "a body may follow, or another request"


class Locked(Plugin):
    def __init__(self) -> None:
        """It needs no settings."""

    async def guard(self, head: RequestHead) -> Caller | None:
        raise Unauthorized("no key")


async def test_so_does_a_guards() -> None:
    core = FakeCore()
    core.plugins = [("locked", Locked())]
    async with listening_app(create_app(core)) as port:
        await refused(port, head(), 401)


async def test_a_body_that_is_wanted_is_asked_for_once() -> None:
    async with listening_app(app_of()) as port:
        peer = await Peer.connect(port)
        for _ in range(2):
            await peer.send(head())
            assert (await peer.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
            await peer.send(BODY[:5])
            await peer.send(BODY[5:])
            assert (await peer.answer())[0] == 200
        peer.close()


async def test_a_body_that_came_by_itself_is_not_asked_for() -> None:
    async with listening_app(app_of()) as port:
        peer = await Peer.connect(port)
        await peer.send(head() + BODY)
        assert (await peer.answer())[0] == 200
        peer.close()
