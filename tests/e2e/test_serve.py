"""The process itself: start, one line, signals, locks, ports."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from tests.faults.served import SETTINGS, command

LOOPS = pytest.mark.parametrize("loop", ["uvloop", "asyncio"])


@asynccontextmanager
async def process(
    tmp_path: Path, *words: str, grace: str = "10", loop: str = "uvloop"
) -> AsyncIterator[asyncio.subprocess.Process]:
    (tmp_path / "config.toml").write_text(SETTINGS)
    if loop != "uvloop":  # as if it were not installed: this one is found first
        (tmp_path / "uvloop.py").write_text("raise ImportError")
    started = await asyncio.create_subprocess_exec(
        *command(), *words,
        cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env=os.environ | {"EMBEDWELL_SERVER__GRACE_SECONDS": grace},
    )  # fmt: skip
    try:
        yield started
    finally:
        if started.returncode is None:
            started.kill()
        await started.wait()


async def ready_line(started: asyncio.subprocess.Process) -> str:
    assert started.stdout
    return (await asyncio.wait_for(started.stdout.readline(), 60)).decode()


@LOOPS
async def test_one_line_when_ready_then_a_clean_end(tmp_path: Path, loop: str) -> None:
    async with process(tmp_path, "--port", "0", loop=loop) as started:
        line = await ready_line(started)
        assert "ready on http://localhost:" in line
        assert "all-MiniLM-L6-v2" in line
        assert "curl http://localhost:" in line
        url = line.split("ready on ")[1].split(" ")[0]
        async with httpx.AsyncClient(base_url=url) as client:
            assert (await client.get("/ready")).status_code == 200
            assert (await client.get("/info")).json()["event_loop"] == loop
            started.send_signal(signal.SIGTERM)  # with a kept-alive connection open
            assert await asyncio.wait_for(started.wait(), 15) == 0
        assert started.stdout
        assert await started.stdout.read() == b""


async def stopped_while_busy(started: asyncio.subprocess.Process, inputs: int) -> httpx.Response:
    """The answer to a long request during which the server was told to stop."""
    url = (await ready_line(started)).split("ready on ")[1].split(" ")[0]
    long = {"model": "sentence-transformers/all-MiniLM-L6-v2", "input": ["word " * 300] * inputs}
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        assert (await client.post("/embeddings", json=long | {"input": "x"})).is_success
        slow = asyncio.create_task(client.post("/embeddings", json=long))
        async with httpx.AsyncClient(base_url=url) as other:
            while not await _busy(other):
                await asyncio.sleep(0)
        started.send_signal(signal.SIGTERM)
        return await slow


async def _busy(client: httpx.AsyncClient) -> bool:
    """Whether a request is past its tokenising."""
    return bool((await client.get("/info")).json()["queued_tokens"])


@LOOPS
async def test_accepted_work_is_answered(tmp_path: Path, loop: str) -> None:
    async with process(tmp_path, "--port", "0", grace="60", loop=loop) as started:
        answer = await stopped_while_busy(started, 60)
        assert answer.status_code == 200
        assert await asyncio.wait_for(started.wait(), 20) == 0


async def test_a_second_server_on_one_directory_is_refused(tmp_path: Path) -> None:
    async with process(tmp_path, "--port", "0") as first:
        await ready_line(first)
        async with process(tmp_path, "--port", "0") as second:
            assert await asyncio.wait_for(second.wait(), 30) == 2
            assert second.stderr
            assert b"another server uses" in await second.stderr.read()


async def test_t32_too_few_descriptors_are_said(tmp_path: Path) -> None:
    started = await asyncio.create_subprocess_exec(
        "sh", "-c", 'ulimit -n 500 && exec "$@"', "sh", *command(), "--port", "0",
        cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        out, said = await asyncio.wait_for(started.communicate(), 60)
    finally:
        if started.returncode is None:
            started.kill()
            await started.wait()
    assert (started.returncode, out) == (2, b"")
    assert b"only 500 open files are allowed" in said
    assert b"Traceback" not in said


async def test_a_busy_port_is_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        async with process(tmp_path, "--port", port) as started:
            assert await asyncio.wait_for(started.wait(), 30) == 2
            assert started.stderr
            assert b"choose another with --port" in await started.stderr.read()


@LOOPS
async def test_work_that_outlasts_the_grace_period_is_told_so(tmp_path: Path, loop: str) -> None:
    async with process(tmp_path, "--port", "0", grace="0.2", loop=loop) as started:
        answer = await stopped_while_busy(started, 1500)
        assert answer.status_code == 503
        assert answer.json()["code"] == "DRAINING"
        assert await asyncio.wait_for(started.wait(), 20) == 75


async def test_a_body_that_stalls_is_told_at_the_end_of_the_grace_period(tmp_path: Path) -> None:
    async with process(tmp_path, "--port", "0", grace="0.2") as started:
        port = int((await ready_line(started)).split("ready on http://localhost:")[1].split(" ")[0])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = "POST /embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Content-Length: 100\r\n\r\n{{".encode())
        await writer.drain()
        async with httpx.AsyncClient(base_url=f"http://localhost:{port}") as client:
            await client.get("/health")  # the server has seen the other connection by now
        started.send_signal(signal.SIGTERM)
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 503")
        assert b'"code":"DRAINING"' in answer
        assert await asyncio.wait_for(started.wait(), 20) == 75
        writer.close()
