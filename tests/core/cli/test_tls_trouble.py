"""A certificate that nobody vouches for, and https where http is spoken: both are said."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from embedwell.bench import probe
from embedwell.bench.errors import Unmeasurable
from embedwell.bench.target import target
from embedwell.cli.remote import RemoteError, Server
from embedwell.config.schema import Server as Settings
from embedwell.interfaces.status import CacheStatus
from embedwell.transport import tls
from tests.core.bench.loopback import serving
from tests.core.transport.test_sockets import make_certificate, needs_openssl

UNTRUSTED = r"its certificate is not trusted \(.+\): SSL_CERT_FILE names a CA"
PLAIN = "it does not answer in TLS: try http://"


@asynccontextmanager
async def plain() -> AsyncIterator[str]:
    """Says at once, as a server of http does, that it understood nothing."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n")
        await reader.read(1)
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with server:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def check(url: str, reason: str) -> None:
    with pytest.raises(RemoteError, match=rf"^{url} cannot be reached: {reason}$"):
        await asyncio.to_thread(Server(url).ask, "GET", "/embeddings/cache/status", CacheStatus)
    with pytest.raises(Unmeasurable, match=reason):
        await probe.first_model(target(url), "", 20)


@pytest.mark.system
@needs_openssl
async def test_a_certificate_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, key = make_certificate(tmp_path, "own")
    context = tls.context(Settings(tls_certificate=certificate, tls_key=key))
    async with serving(secure=context) as server:
        await check(server.url, UNTRUSTED)
        monkeypatch.setenv("SSL_CERT_FILE", certificate)
        assert await probe.first_model(target(server.url), "", 20) == "tiny"


async def test_https_where_http_is_spoken() -> None:
    async with plain() as url:
        await check(url, PLAIN)
