"""Sockets in the file system, and TLS."""

import asyncio
import shutil
import socket
import ssl
import stat
import subprocess
from pathlib import Path

import httpx
import pytest

from embedwell.config.schema import Server
from embedwell.errors import ConfigurationError
from embedwell.transport import tls
from embedwell.transport.server import serve
from embedwell.transport.sockets import listening
from tests.core.http.fake_core import app_of
from tests.core.transport.listening_app import listening_app


async def test_a_unix_socket_serves_its_group_and_goes(tmp_path: Path) -> None:
    path = tmp_path / "http.sock"
    settings, stop = Server(unix_socket=str(path)), asyncio.Event()
    with listening(settings) as listener:
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        serving = asyncio.create_task(serve(app_of(server=settings), listener, stop))
        transport = httpx.AsyncHTTPTransport(uds=str(path))
        async with httpx.AsyncClient(transport=transport, base_url="http://any.name") as client:
            assert (await client.get("/health")).status_code == 200
            assert (await client.get("/models")).status_code == 200
        stop.set()
        await serving
    assert not path.exists()


def test_a_socket_that_a_killed_server_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "http.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    with listening(Server(unix_socket=str(path))), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    assert not path.exists()


def test_a_socket_that_somebody_listens_on_stays(tmp_path: Path) -> None:
    path = tmp_path / "http.sock"
    settings = Server(unix_socket=str(path))
    with (
        listening(settings),
        pytest.raises(ConfigurationError, match="another program listens there"),
        listening(settings),
    ):
        pass
    assert not path.exists()


def test_what_took_our_place_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "http.sock"
    with listening(Server(unix_socket=str(path))):
        path.rename(tmp_path / "ours")
        path.write_text("another's")
    assert path.read_text() == "another's"


@pytest.mark.parametrize(
    ("name", "reason"),
    [("file", "there is a file that is no socket"), ("none/x", "No such file or directory"),
     ("x" * 200, "too long"), ("a\0b", "null")],
)  # fmt: skip
def test_a_socket_that_cannot_be_is_said(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "file").write_text("")
    settings = Server(unix_socket=str(tmp_path / name))
    refused = pytest.raises(ConfigurationError, match=rf"server\.unix_socket: .*{reason}")
    with refused, listening(settings):
        pass
    assert (tmp_path / "file").exists()


needs_openssl = pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl")


def make_certificate(folder: Path, name: str) -> tuple[str, str]:
    """A certificate for localhost and its key."""
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
         "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    return str(certificate), str(key)


@pytest.mark.system
@needs_openssl
async def test_tls_of_1_2_and_later_with_http_1_1(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path, "a")
    context = tls.context(Server(tls_certificate=certificate, tls_key=key))
    assert context is not None
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    trusting = ssl.create_default_context(cafile=certificate)
    trusting.set_alpn_protocols(["h2", "http/1.1"])
    async with listening_app(app_of(), tls=context) as port:
        async with httpx.AsyncClient(verify=trusting) as client:
            for _ in range(2):
                answer = await client.get(f"https://localhost:{port}/health")
                assert (answer.status_code, answer.http_version) == (200, "HTTP/1.1")
            own = {"origin": f"https://localhost:{port}"}
            posted = await client.post(f"https://localhost:{port}/embeddings", headers=own)
            assert posted.status_code == 415  # past the check of origins
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        assert not (await asyncio.wait_for(reader.read(), 30)).startswith(b"HTTP")
        writer.close()


@pytest.mark.system
@needs_openssl
def test_a_certificate_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path, "a")
    _, other = make_certificate(tmp_path, "b")
    locked, garbage = tmp_path / "locked.key", tmp_path / "garbage.pem"
    subprocess.run(
        ["openssl", "ec", "-in", key, "-aes256", "-passout", "pass:word", "-out", locked],
        check=True, capture_output=True,
    )  # fmt: skip
    garbage.write_text("garbage")
    none = str(tmp_path / "none.pem")
    for one, two, reason in (
        (certificate, other, "server.tls_certificate: .*do not belong together"),
        (certificate, str(locked), "server.tls_key: .*is encrypted"),
        (none, key, "server.tls_certificate: .*cannot be read: No such file"),
        (certificate, none, "server.tls_key: .*cannot be read: No such file"),
        (str(garbage), key, "server.tls_certificate: .*cannot be used"),
        (certificate, "a\0b", "server.tls_key: .*cannot be read"),
    ):
        with pytest.raises(ConfigurationError, match=reason):
            tls.context(Server(tls_certificate=one, tls_key=two))


def test_no_certificate_no_tls() -> None:
    assert tls.context(Server()) is None
