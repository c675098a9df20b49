"""The process where others than this machine could reach it."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import httpx
import pytest

from tests.core.transport.test_sockets import make_certificate, needs_openssl
from tests.e2e.test_serve import process, ready_line


async def run(tmp_path: Path, *words: str, **environment: str) -> tuple[int, str]:
    """Exit code and what was said, of a command that ends by itself."""
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "embedwell", *words, cwd=tmp_path, env=os.environ | environment,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await asyncio.wait_for(started.communicate(), 60)
    assert started.returncode is not None
    return started.returncode, said.decode()


HOST = {"EMBEDWELL_SERVER__HOST": "0.0.0.0"}
NAMES = {"EMBEDWELL_SERVER__ALLOWED_HOSTS": '["*"]'}
LEAVE = {"EMBEDWELL_SERVER__ALLOW_UNAUTHENTICATED": "true"}


@pytest.mark.parametrize("command", ["serve", "check-config"])
async def test_t36_strangers_need_to_be_wanted(tmp_path: Path, command: str) -> None:
    code, said = await run(tmp_path, command, **HOST)
    assert code == 2
    assert "server.allowed_hosts: missing" in said
    assert "server.allow_unauthenticated = true" in said
    assert "Traceback" not in said
    assert not (tmp_path / "data").exists(), "nothing was begun"
    assert (await run(tmp_path, "check-config", **HOST, **NAMES, **LEAVE))[0] == 0


PLUGIN = """
from embedwell import Plugin, PluginSpec, hookimpl
from msgspec import Struct

class Config(Struct, frozen=True, forbid_unknown_fields=True):
    pass

def build(config, services):
    return Plugin(config, services)

@hookimpl
def register_plugins():
    return [PluginSpec(name="open", summary="guards nothing", config=Config, build=build)]
"""


async def test_t36_a_plugin_that_guards_nothing_is_no_guard(tmp_path: Path) -> None:
    (tmp_path / "open_plugin.py").write_text(PLUGIN)
    info = tmp_path / "open_plugin-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: open-plugin\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[embedwell]\nopen = open_plugin\n")
    for words in (("serve", "--port", "0"), ("check-config",)):
        code, said = await run(tmp_path, *words, **HOST, **NAMES, PYTHONPATH=str(tmp_path))
        assert code == 2
        assert "server.allow_unauthenticated = true" in said
        assert "Traceback" not in said


async def test_t36_with_leave_it_is_said_loudly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (HOST | NAMES | LEAVE).items():
        monkeypatch.setenv(name, value)
    async with process(tmp_path, "--port", "0") as started:
        url = (await ready_line(started)).split("ready on ")[1].split(" ")[0]
        async with httpx.AsyncClient(base_url=url) as client:
            assert (await client.get("/health", headers={"host": "a.example"})).is_success
        started.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(started.wait(), 20) == 0
        assert started.stderr
        said = (await started.stderr.read()).decode()
    assert "WHOEVER REACHES 0.0.0.0 MAY USE, UPLOAD AND DELETE MODELS" in said
    assert "answering to any name; pages of other sites: none" in said


async def test_a_socket_in_the_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBEDWELL_SERVER__UNIX_SOCKET", "http.sock")
    async with process(tmp_path) as started:
        line = await ready_line(started)
        assert "ready on unix:http.sock |" in line
        assert "curl --unix-socket http.sock http://localhost/embeddings" in line
        transport = httpx.AsyncHTTPTransport(uds=str(tmp_path / "http.sock"))
        async with httpx.AsyncClient(transport=transport, base_url="http://a.example") as client:
            assert (await client.get("/ready")).is_success
        started.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(started.wait(), 20) == 0
    assert not (tmp_path / "http.sock").exists()


@pytest.mark.system
@needs_openssl
async def test_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import ssl

    certificate, key = make_certificate(tmp_path, "a")
    monkeypatch.setenv("EMBEDWELL_SERVER__TLS_CERTIFICATE", certificate)
    code, said = await run(tmp_path, "serve", "--port", "0")
    assert (code, "server.tls_key: missing" in said) == (2, True)
    monkeypatch.setenv("EMBEDWELL_SERVER__TLS_KEY", key)
    async with process(tmp_path, "--port", "0") as started:
        url = (await ready_line(started)).split("ready on ")[1].split(" ")[0]
        assert url.startswith("https://localhost:")
        context = ssl.create_default_context(cafile=certificate)
        async with httpx.AsyncClient(base_url=url, verify=context) as client:
            assert (await client.get("/ready")).is_success
            started.send_signal(signal.SIGTERM)  # with a kept connection open
            assert await asyncio.wait_for(started.wait(), 20) == 0
    Path(key).write_text("")
    code, said = await run(tmp_path, "serve", "--port", "0")
    assert (code, "server.tls_certificate" in said) == (2, True)
