"""Runs the child process and hears it out; however that ends, the child is gone afterwards."""

import asyncio
import logging
import os
import re
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress

import msgspec

from embedwell_source_huggingface.messages import Failed, Message, Request

log = logging.getLogger("embedwell.source.huggingface")

MODULE = "embedwell_source_huggingface.download"
MAX_LINE = 16 * 2**20  # a listing of 100,000 files
TAIL = 4_000  # bytes of the child's log that are kept
REST = re.compile(rb"^\S*")
QUERY = re.compile(r"""(?<=\S)\?[^\s"'<>]+""")


class Child:
    """A running child and what it says."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self.pid = process.pid

    async def hear(self) -> Message:
        """The next message; Failed when it ends without a word, or says what it should not."""
        assert self._process.stdout is not None
        try:
            line = await self._process.stdout.readline()
            message: Message = msgspec.json.decode(line, type=Message)
        except (ValueError, msgspec.MsgspecError):  # ValueError: a line too long
            return Failed("bug")
        return message


@asynccontextmanager
async def child(request: Request, environ: Mapping[str, str]) -> AsyncIterator[Child]:
    """A child at work on the request; killed with all it started when the block is left."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", MODULE),
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        env=environ,
        limit=MAX_LINE,
        start_new_session=True,
    )
    assert process.stderr is not None
    noise = asyncio.get_running_loop().create_task(last_words(process.stderr))
    try:
        await _send(process, request)
        yield Child(process)
    finally:
        _kill(process)
        await asyncio.shield(_heard_out(process, noise))


def environment(environ: Mapping[str, str], home: str, endpoint: str | None) -> dict[str, str]:
    """The child's: tokens come by request only, and the library writes below `home` only."""
    hidden = {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"}
    kept = {name: value for name, value in environ.items() if name not in hidden}
    kept |= {"HF_HOME": home, "HF_HUB_DISABLE_TELEMETRY": "1"}
    return kept | {"HF_ENDPOINT": endpoint} if endpoint else kept


async def _send(process: Process, request: Request) -> None:
    assert process.stdin is not None
    process.stdin.write(msgspec.json.encode(request) + b"\n")
    with suppress(ConnectionError):  # it died: its silence says so
        await process.stdin.drain()


async def _heard_out(process: Process, noise: "asyncio.Task[str]") -> None:
    await process.wait()
    tail = await noise
    if tail:
        log.info("the child that talked to the Hub said: %s", tail)


def _kill(process: Process) -> None:
    assert process.stdin is not None
    process.stdin.close()
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


async def last_words(stream: asyncio.StreamReader) -> str:
    """The end of what is said, without the queries of addresses, which carry signatures."""
    tail, within = b"", False  # `within` a word whose beginning is gone: half an address, say
    while data := await stream.read(65_536):
        tail += data
        within = within or len(tail) > TAIL
        if within:
            tail = REST.sub(b"", tail[-TAIL:], count=1)
            within = not tail
    return QUERY.sub("?…", tail.decode(errors="replace").strip())
