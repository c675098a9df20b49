"""Requests as they are sent to proxies: with the whole URL in their first line."""

import json

import pytest

from embedwell.config.schema import Server
from tests.core.http.fake_core import app_of
from tests.core.transport.listening_app import Peer, listening_app


async def asked(root_path: str, line: str, host: str) -> tuple[int, str]:
    settings = Server(root_path=root_path)
    async with listening_app(app_of(server=settings)) as port:
        peer = await Peer.connect(port)
        kind = "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
        await peer.send(f"{line} HTTP/1.1\r\nHost: {host}\r\n{kind}".encode())
        status, body = await peer.answer()
        peer.close()
    return status, str(json.loads(body).get("code", ""))


@pytest.mark.parametrize(
    ("line", "host", "status", "code"),
    [
        ("GET http://localhost/api/v1/models", "localhost", 200, ""),
        ("GET HTTP://localhost:8000/api/health?x=1", "localhost", 200, ""),
        ("GET http://localhost/models", "localhost", 200, ""),
        ("POST http://localhost/api/v1/embeddings", "localhost", 400, "VALIDATION_ERROR"),
        ("GET http://localhost/health", "evil.example", 200, ""),
        ("GET http://evil.example/health", "localhost", 403, "FORBIDDEN"),
        ("GET http:///health", "localhost", 403, "FORBIDDEN"),
        ("GET http://localhost", "localhost", 404, "NOT_FOUND"),
    ],
)
async def test_a_whole_url_is_found_below_a_prefix(
    line: str, host: str, status: int, code: str
) -> None:
    assert await asked("/api", line, host) == (status, code)
