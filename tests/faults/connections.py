"""Connections by the thousand on a server with few descriptors: it answers, and its log stays short.

    python -m tests.faults.connections

Each case runs beside requests of a client that is served; prints how long those took at most, and
exits non-zero where one took a second, or the log grew by more than it may.
"""

import asyncio
import resource
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
from msgspec import Struct

from embedwell.transport.connections import PROBE_PLACES
from embedwell.transport.server import bound
from tests.e2e.minilm import MINILM
from tests.faults.copies import of_process
from tests.faults.restarts import vector
from tests.faults.served import served

DESCRIPTORS = 512
SLOWEST = 1.0  # seconds for a request beside the attack
MOST_LINES = 100
DRIP_SECONDS = 15.0
GROWTH = 50_000_000  # bytes of resident memory
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
HEAD = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"
ALONE = httpx.Limits(max_keepalive_connections=0)  # one that rests could be ended as it is used


class Under(Struct):
    """A server under attack; `requests` have the seconds of what was asked meanwhile."""

    pid: int
    port: int
    log: Path
    client: httpx.AsyncClient
    seconds: list[float] = []

    async def ask(self) -> None:
        began = time.monotonic()
        (await self.client.get("/health")).raise_for_status()
        self.seconds.append(time.monotonic() - began)


@asynccontextmanager
async def server(folder: Path) -> AsyncIterator[Under]:
    async with (
        served(folder, descriptors=DESCRIPTORS) as one,
        httpx.AsyncClient(base_url=one.url, timeout=30, limits=ALONE) as client,
    ):
        yield Under(one.process.pid, one.port, folder / "log", client)


async def connect(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", port)


async def come_and_go(under: Under) -> None:
    """T32: a thousand connections that say nothing, twice: closed at once, and closed later."""
    for _ in range(1000):
        _, writer = await connect(under.port)
        writer.close()
    silent = [(await connect(under.port))[1] for _ in range(1000)]
    await under.ask()
    for writer in silent:
        writer.close()


async def at_once(under: Under) -> None:
    """T32: a thousand in one breath."""
    made = await asyncio.gather(*(connect(under.port) for _ in range(1000)))
    await under.ask()
    for _, writer in made:
        writer.close()


async def drip(under: Under) -> None:
    """T29: two hundred heads, a byte each half a second."""
    began = time.monotonic()
    made = await asyncio.gather(*(connect(under.port) for _ in range(200)))
    await asyncio.gather(*(_drip(reader, writer) for reader, writer in made))
    took = time.monotonic() - began
    print(f"   all ended after {took:.1f} s")
    if took > DRIP_SECONDS:
        raise AssertionError(f"heads may drip for {took:.1f} s")


async def _drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    ended = asyncio.ensure_future(reader.read())
    while not ended.done():
        writer.write(b"G")
        await asyncio.wait({ended}, timeout=0.5)
    await asyncio.wait({ended})
    ended.exception()
    writer.close()


async def all_busy(under: Under) -> None:
    """T32: a body that stalls in every place, then silent connections: probes are answered."""
    head = HEAD.replace(b"GET /health", b"POST /embeddings")
    body = b"Content-Type: application/json\r\nContent-Length: 9\r\n\r\n{"
    stalled, silent = [], []
    for _ in range(bound(DESCRIPTORS)):
        stalled.append(await connect(under.port))
        stalled[-1][1].write(head + body)
    await _until(under, 429)
    for _ in range(10):
        silent += [await connect(under.port) for _ in range(PROBE_PLACES - 10)]
        await under.ask()
    for _, writer in (*stalled, *silent):
        writer.close()
    await _until(under, 200)


async def _until(under: Under, status: int) -> None:
    """Returns when this is the answer to who is no probe."""
    async with asyncio.timeout(10):
        while await _models(under) != status:
            await asyncio.sleep(0.01)


async def _models(under: Under) -> int:
    return (await under.client.get("/models")).status_code


async def other_http(under: Under) -> None:
    """T30: HTTP/2 without TLS, asked for in both ways, and paths that are not ASCII."""
    for number in range(2000):
        reader, writer = await connect(under.port)
        wish = b"Connection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n"
        odd = b"GET /\xc3\xa9 HTTP/1.1\r\nHost: localhost\r\n\r\n"
        writer.write((PREFACE, HEAD + wish, odd)[number % 3])
        if number % 2:
            answer = await reader.readuntil(b"\r\n")
            expected = b"200" if number % 3 == 1 else b"400"
            if answer.split()[1] != expected:
                raise AssertionError(f"{answer!r} instead of {expected!r}")
        writer.transport.abort()


CASES: tuple[Callable[[Under], Awaitable[None]], ...] = (
    come_and_go,
    at_once,
    drip,
    all_busy,
    other_http,
)


async def attack(under: Under, case: Callable[[Under], Awaitable[None]]) -> list[str]:
    """Runs it beside somebody who is served; what was broken."""
    print(f"{case.__name__}: {case.__doc__}")
    lines, memory = _lines(under.log), of_process(under.pid, "VmRSS")
    under.seconds = []
    attacking = asyncio.ensure_future(case(under))
    while not attacking.done():
        await under.ask()
        await asyncio.wait({attacking}, timeout=0.1)
    faults = [f"{case.__name__}: {attacking.exception()!r}"] if attacking.exception() else []
    await vector(under.client, MINILM)
    slowest, wrote = max(under.seconds), _lines(under.log) - lines
    grown = of_process(under.pid, "VmRSS") - memory
    print(f"   slowest request {slowest * 1000:.0f} ms, {wrote} lines, {grown / 1e6:+.1f} MB")
    if slowest > SLOWEST:
        faults.append(f"{case.__name__}: a request took {slowest:.1f} s")
    if wrote > MOST_LINES:
        faults.append(f"{case.__name__}: {wrote} lines were logged")
    if grown > GROWTH:
        faults.append(f"{case.__name__}: {grown / 1e6:.0f} MB more")
    return faults


def _lines(path: Path) -> int:
    """Those that are not of requests: an attack's own are one each."""
    text = path.read_text("utf-8", "replace").splitlines()
    return sum(" embedwell.access " not in line for line in text)


async def run() -> list[str]:
    with tempfile.TemporaryDirectory() as name:
        async with server(Path(name)) as under:
            await vector(under.client, MINILM)
            faults = [fault for case in CASES for fault in await attack(under, case)]
            await asyncio.sleep(1)
            held = len(list(Path(f"/proc/{under.pid}/fd").iterdir()))
            print(f"descriptors held at the end: {held}")
            return faults


def main() -> None:
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (8192, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    )
    faults = asyncio.run(run())
    print("\n".join(faults) or "all is well")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
