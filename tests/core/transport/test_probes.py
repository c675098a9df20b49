"""Probes beside as many busy connections as there may be."""

import asyncio
import json
import shutil
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from embedwell.config.schema import Server
from embedwell.interfaces.routes import Reply, Request
from embedwell.transport import connection, connections, tls
from tests.core.http.fake_core import app_of, route
from tests.core.transport.listening_app import HEAD, Peer, listening_app
from tests.core.transport.test_sockets import make_certificate

HEALTH, OTHER = HEAD + b"\r\n", HEAD.replace(b"/health", b"/test") + b"\r\n"


@asynccontextmanager
async def busy(most: int = 2, free: int = 0) -> AsyncIterator[int]:
    """The port of a server all of whose connections are busy, but for those that are `free`."""
    may_end, begun = asyncio.Event(), asyncio.Semaphore(0)

    async def wait(request: Request) -> Reply:
        begun.release()
        await may_end.wait()
        return Reply(body="done")

    async with listening_app(app_of(route(wait)), most=most + free) as port:
        peers = [await Peer.connect(port) for _ in range(most)]
        for peer in peers:
            await peer.send(OTHER)
            await begun.acquire()
        try:
            yield port
        finally:
            may_end.set()
            assert {(await peer.answer())[0] for peer in peers} == {200}
            for peer in peers:
                peer.close()


async def asked(port: int, request: bytes) -> tuple[int, str]:
    """Status and code; its connection must end."""
    peer = await Peer.connect(port)
    await peer.send(request)
    status, body = await peer.answer()
    assert await peer.closed() == b""
    return status, str(json.loads(body).get("code", ""))


async def test_t32_probes_are_answered_when_all_connections_are_busy() -> None:
    async with busy() as port:
        for _ in range(3):
            assert await asked(port, HEALTH) == (200, "")
            assert await asked(port, HEALTH.replace(b"/health", b"/ready")) == (200, "")
            assert await asked(port, OTHER) == (429, "OVERLOADED")
            assert await asked(port, OTHER.replace(b"/test", b"/docs")) == (429, "OVERLOADED")


async def test_t32_silent_connections_keep_no_probe_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "PROBE_SECONDS", 600.0)
    monkeypatch.setattr(connections, "PROBE_PLACES", 4)
    async with busy() as port:
        silent = [await Peer.connect(port) for _ in range(20)]
        assert await asked(port, HEALTH) == (200, "")
        for peer in silent[:10]:
            await peer.closed()
        for peer in silent[10:]:
            peer.close()


async def test_t32_one_place_that_many_want_keeps_no_probe_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "LEAST_SECONDS", 600.0)
    async with busy(free=1) as port:
        silent = await Peer.connect(port)
        assert await asked(port, HEALTH) == (200, "")
        silent.close()


async def test_t32_a_connection_too_many_that_says_nothing_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "PROBE_SECONDS", 0.2)
    async with busy() as port:
        for begun in (b"", b"GET /hea"):
            assert await asked(port, begun) == (429, "OVERLOADED")


@pytest.mark.system
@pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl")
async def test_t32_probes_are_answered_over_tls_too(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path, "a")
    trusting = ssl.create_default_context(cafile=certificate)
    context = tls.context(Server(tls_certificate=certificate, tls_key=key))
    async with listening_app(app_of(), tls=context, most=0) as port:
        for request, status in ((HEALTH, 200), (OTHER, 429)):
            streams = await asyncio.open_connection(
                "127.0.0.1", port, ssl=trusting, server_hostname="localhost"
            )
            peer = Peer(*streams)
            await peer.send(request.replace(b"/test", b"/models"))
            assert (await peer.answer())[0] == status
            peer.close()


async def test_t32_whoever_has_just_come_makes_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "LEAST_SECONDS", 1.0)
    async with listening_app(app_of(), most=1) as port:
        first, *others = [await Peer.connect(port) for _ in range(3)]
        await asyncio.sleep(0.05)
        await first.send(HEALTH)
        assert (await first.answer())[0] == 200
        for peer in (first, *others):
            peer.close()
