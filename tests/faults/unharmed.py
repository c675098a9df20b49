"""What must hold after every case for a server in the test's own process."""

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
from msgspec import Struct

from embedwell import Embedded
from embedwell.testing.server import RunningServer
from tests.faults import envelope
from tests.faults.rawhttp import Answer

PATIENCE = 30.0  # seconds, on a busy machine
DEVICE = "embedwell-device"
POOLED = 8  # threads of bounded pools that may not have been needed before


class Held(Struct):
    """What a server has at hand for requests, its own process being the test's."""

    in_flight: int
    queued: int
    leases: int
    waiting: int
    device: int  # threads

    @classmethod
    def of(cls, server: RunningServer) -> "Held":
        residents = server.runtime.cache.residents()
        names = [thread.name for thread in threading.enumerate()]
        return cls(
            server.app.in_flight,
            server.runtime.batcher.queued_tokens,
            sum(resident.leases for resident in residents),
            sum(len(resident.waiters) for resident in residents),
            sum(name.startswith(DEVICE) for name in names),
        )


async def until(true: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.01)


async def vector(server: RunningServer, model: str) -> list[float]:
    async with httpx.AsyncClient(base_url=server.url, timeout=PATIENCE) as http:
        answer = await http.post("/embeddings", json={"model": model, "input": "w1 w2 w3"})
        assert answer.status_code == 200, answer.text
        row: list[float] = answer.json()["data"][0]["embedding"]
        return row


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@asynccontextmanager
async def unharmed(server: RunningServer, model: str = "tiny") -> AsyncIterator[None]:
    """Checks the server when the block is left; its clients must be closed by then."""
    golden = await vector(server, model)
    await until(lambda: not server.app.in_flight)
    held, threads, files = Held.of(server), threading.active_count(), _open_files()
    yield
    assert await vector(server, model) == golden
    await until(lambda: Held.of(server) == held)
    await until(lambda: _open_files() <= files + 1)  # a source may keep one open
    assert threading.active_count() <= threads + POOLED
    outcomes = Counter(e.outcome for e in server.events if isinstance(e, Embedded))
    assert not outcomes["INTERNAL"], "an error that nobody meant for a client"


def code(answer: httpx.Response) -> str:
    """The code of an error, whose whole envelope is checked on the way."""
    given = Answer(answer.status_code, answer.headers, answer.content)
    envelope.check(given, {*envelope.CODES, *envelope.OTHERS}, None)
    return str(given.json["code"])
