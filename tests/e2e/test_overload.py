"""More than there is room for, clients that leave a shared batch, a text that gives NaN."""

import asyncio
import resource
import threading
from collections import Counter
from math import nan

import httpx
import pytest

from embedwell import BatchRun, Embedded
from embedwell.config.schema import Batching
from embedwell.testing import FakeBackend
from tests.e2e.conftest import Start
from tests.faults.child import asking
from tests.faults.unharmed import code, unharmed, until

FIRST = 5  # the id of w0
HELD, POISON, ODD, CLS = FIRST + 66, FIRST + 67, FIRST + 68, 2
CLIENTS, TAKEN = 1_000, 400
TOKENS = 3  # of each request


async def test_a_client_that_leaves_a_shared_batch_costs_its_mates_nothing(tiny: Start) -> None:
    go, began = threading.Event(), threading.Event()

    def wait() -> None:
        began.set()
        go.wait()

    first = threading.Event()
    faults = {HELD: wait, POISON: lambda: void(first.wait())}
    async with (
        tiny(FakeBackend(faults=faults)) as server,
        unharmed(server),
        httpx.AsyncClient(base_url=server.url, timeout=30) as http,
    ):

        def ask(text: str) -> "asyncio.Task[httpx.Response]":
            body = {"model": "tiny", "input": text}
            return asyncio.create_task(http.post("/embeddings", json=body))

        before = ask("w67")  # keeps the device while the others gather
        await until(lambda: server.runtime.batcher.queued_tokens == 3)
        together = [ask("w66"), *(ask(f"w{i}") for i in range(9))]
        await until(lambda: server.runtime.batcher.queued_tokens == 33)
        first.set()
        await asyncio.to_thread(began.wait)
        together[5].cancel()
        await until(lambda: "cancelled" in [outcome(e) for e in server.events])
        go.set()
        answers = await asyncio.gather(before, *together[:5], *together[6:])
        assert {answer.status_code for answer in answers} == {200}
        shared = [e.requests for e in server.events if isinstance(e, BatchRun)]
        assert max(shared) == 10


def void(_: object) -> None:
    """Make an expression a statement."""


def outcome(event: object) -> str:
    return event.outcome if isinstance(event, Embedded) else ""


@pytest.mark.parametrize("encoding", ["float", "base64"])
async def test_a_text_that_gives_no_number_fails_alone(tiny: Start, encoding: str) -> None:
    backend = FakeBackend(faults={ODD: lambda: nan})
    async with tiny(backend) as server, unharmed(server):
        async with httpx.AsyncClient(base_url=server.url, timeout=30) as http:
            texts: list[object] = [*(f"w{i}" for i in range(31)), ["w1", "w68"]]
            asked = [{"model": "tiny", "input": t, "encoding_format": encoding} for t in texts]
            answers = await asyncio.gather(*(http.post("/embeddings", json=a) for a in asked))
        assert [a.status_code for a in answers] == [200] * 31 + [500]
        assert code(answers[-1]) == "MODEL_ERROR"
        assert "not finite for input 1" in answers[-1].json()["detail"]
        assert "NaN" not in answers[-1].text


async def test_a_thousand_at_once_on_a_slow_model(tiny: Start) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 4 * CLIENTS:
        pytest.skip("too few open files are allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    go = threading.Event()
    told: Counter[int] = Counter()
    settings = Batching(max_queued_tokens=TOKENS * TAKEN * 10 // 8, batch_timeout=60)
    try:
        async with tiny(
            FakeBackend(faults={CLS: lambda: void(go.wait())}), batching=settings
        ) as server:
            go.set()
            async with unharmed(server):
                golden = await row(server.port)
                go.clear()

                async def ask() -> None:
                    async with asking(server.port, "w5") as connection:
                        status, answer = await connection.answer(120)
                        head = connection.head.lower()
                    told[status] += 1
                    if status == 200:
                        assert answer["data"][0]["embedding"] == golden
                    else:
                        assert (status, answer["code"]) == (429, "OVERLOADED")
                        assert b"\r\nretry-after: " in head

                asked = [asyncio.create_task(ask()) for _ in range(CLIENTS)]
                await until(
                    lambda: (
                        told[429] == CLIENTS - TAKEN
                        or any(t.done() and t.exception() for t in asked)
                    )
                )
                go.set()
                await asyncio.gather(*asked)
    finally:
        go.set()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert told == {200: TAKEN, 429: CLIENTS - TAKEN}


async def row(port: int) -> list[float]:
    async with asking(port, "w5") as connection:
        _, answer = await connection.answer()
    found: list[float] = answer["data"][0]["embedding"]
    return found
