"""A device that hangs or is beyond use: who asked is told, /ready says so, and the process ends."""

import asyncio
import re
import threading
from pathlib import Path

import httpx

from embedwell import WorkerReplaced
from embedwell.config.schema import Batching
from embedwell.testing import FakeBackend
from tests.e2e.conftest import Start
from tests.faults.child import asking, child, opened
from tests.faults.unharmed import code, unharmed

POISON = 5 + 66
FATAL = 70  # the exit code
STARTING = re.compile(r"starting on http://localhost:(\d+), ")
QUICK = "[batching]\nbatch_timeout = 0.5\n[server]\ngrace_seconds = 2\n"


class Wedged(FakeBackend):
    """Its small product hangs, too, until it is free."""

    def __init__(self) -> None:
        self.free = threading.Event()
        self.free.set()
        super().__init__(faults={POISON: self.wait})

    def wait(self) -> None:
        self.free.wait()

    def check(self) -> None:
        self.free.wait()


async def test_a_device_that_hangs_and_comes_back(tiny: Start) -> None:
    backend = Wedged()
    async with (
        tiny(backend, batching=Batching(batch_timeout=0.5)) as server,
        unharmed(server),
        httpx.AsyncClient(base_url=server.url, timeout=30) as http,
    ):
        assert (await http.get("/ready")).status_code == 200
        backend.free.clear()
        answer = await http.post("/embeddings", json={"model": "tiny", "input": "w66"})
        assert (answer.status_code, code(answer)) == (504, "TIMEOUT")
        unready = await http.get("/ready")
        assert (unready.status_code, code(unready)) == (503, "LOADING")
        assert (await http.get("/health")).status_code == 200
        assert any(isinstance(event, WorkerReplaced) for event in server.events)
        backend.free.set()
        again = await http.post("/embeddings", json={"model": "tiny", "input": "w66"})
        assert again.status_code == 200
        assert (await http.get("/ready")).status_code == 200


async def test_a_device_beyond_use_ends_the_process(tmp_path: Path) -> None:
    async with child(tmp_path, QUICK) as server:
        async with opened(server.port, "POST", "/embeddings", b"{", 100) as stalled:
            await server.get("/health")
            status, answer = await server.embed("w196")
            assert (status, answer["code"]) == (500, "MODEL_ERROR")
            await server.draining()  # which lasts for as long as the other body may
            status, answer = await server.get("/ready")
            assert status == 503
            assert (await stalled.answer())[0] == 503
        assert await server.ended() == FATAL
    assert "device-side assert triggered" in (tmp_path / "log").read_text()


async def test_forward_passes_that_never_return_end_the_process(tmp_path: Path) -> None:
    async with child(tmp_path, QUICK) as server:

        async def told() -> int:
            async with asking(server.port, "w192") as connection:
                return (await connection.answer(60))[0]

        answers = await asyncio.gather(*(told() for _ in range(4)))
        assert set(answers) <= {504, 503}
        assert 504 in answers
        assert await server.ended() == FATAL
    assert "forward passes never returned" in (tmp_path / "log").read_text()


async def test_a_device_that_takes_long_to_start(tmp_path: Path) -> None:
    async with child(tmp_path, "", starting=600.0) as server:
        async with asyncio.timeout(60):
            while not (at := STARTING.search((tmp_path / "log").read_text())):
                await asyncio.sleep(0.01)
        server.port = int(at[1])
        status, told = await server.get("/ready")
        assert (status, told["code"]) == (503, "LOADING")
        assert "the engine is starting" in told["detail"]
        assert (await server.get("/health"))[0] == 200
