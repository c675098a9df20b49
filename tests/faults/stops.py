"""What a server may be at when it is told to stop, and what must come of it."""

import asyncio
import json
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

from msgspec import Struct

from tests.faults.child import Child, child, opened
from tests.faults.fake_models import FAR

SPARE = 5.0  # seconds after the grace period in which the process must have ended
IDLE = 50  # connections that are kept open
CUT = 75  # the exit code where accepted work was not done
MANY = 40_000  # texts whose answer, 6 MB, no kernel holds for a client
Told = tuple[int, str]  # status and code


class Case(Struct, frozen=True):
    """`run` brings the server to what it is at, stops it, and checks what clients were told."""

    run: Callable[[Child], Awaitable[None]]
    grace: float = 20.0
    code: int = 0
    starting: float = 0.0
    within: float | None = None  # seconds until it has ended, where that is not the grace period


async def _told(child: Child, text: str = "w1", model: str = "tiny") -> Told:
    status, answer = await child.embed(text, model)
    return status, str(answer.get("code", ""))


async def _refuses(child: Child) -> None:
    """New work is refused while old work is being done, and probes are still answered."""
    await child.draining()
    assert await _told(child) == (503, "DRAINING")
    assert (await child.get("/health"))[0] == 200


async def idle_connections(child: Child) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(IDLE):
            connection = await stack.enter_async_context(opened(child.port, "GET", "/health"))
            await connection.answer()
        child.stop()
        await child.process.wait()


async def request_of_two_seconds(child: Child) -> None:
    work = asyncio.create_task(_told(child, "w194"))
    await child.busy()
    child.stop()
    await _refuses(child)
    assert await work == (200, "")


async def request_of_forty_seconds(child: Child) -> None:
    work = asyncio.create_task(_told(child, "w195"))
    await child.busy()
    child.stop()
    assert await work == (503, "DRAINING")


async def upload_that_stalls(child: Child) -> None:
    path = "/models/upload?model=m"
    async with opened(child.port, "PUT", path, b"PK\x03\x04" + bytes(600), 10_000) as upload:
        async with asyncio.timeout(20):
            while not any((child.folder / "data" / "staging").iterdir()):
                await asyncio.sleep(0.01)
        child.stop()
        status, answer = await upload.answer()
        assert (status, answer["code"]) == (503, "DRAINING")


async def body_that_stalls(child: Child) -> None:
    async with opened(child.port, "POST", "/embeddings", b"{", 100) as body:
        await child.get("/health")  # the server has seen the other connection by now
        child.stop()
        status, answer = await body.answer()
        assert (status, answer["code"]) == (503, "DRAINING")


async def _loading(child: Child, model: str) -> "asyncio.Task[Told]":
    work = asyncio.create_task(_told(child, model=model))
    async with asyncio.timeout(20):
        while (await child.get(f"/models/{model}"))[1]["state"] != "loading":
            await asyncio.sleep(0.01)
    child.stop()
    return work


async def load_of_two_seconds(child: Child) -> None:
    work = await _loading(child, "slow")
    await _refuses(child)
    assert await work == (200, "")


async def load_of_forty_seconds(child: Child) -> None:
    assert await (await _loading(child, "long")) == (503, "DRAINING")


async def download(child: Child) -> None:
    work = asyncio.create_task(_told(child, model=FAR))
    async with asyncio.timeout(20):
        while not (await child.get("/tasks"))[1]["tasks"]:
            await asyncio.sleep(0.01)
    child.stop()
    assert await work == (503, "DRAINING")


async def client_that_does_not_read(child: Child) -> None:
    body = json.dumps({"model": "tiny", "input": ["w1"] * MANY})
    head = "POST /embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        client.connect(("127.0.0.1", child.port))
        request = f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()
        await asyncio.to_thread(client.sendall, request)
        assert await asyncio.to_thread(client.recv, 9) == b"HTTP/1.1 "
        child.stop()
        await child.process.wait()


async def second_signal(child: Child) -> None:
    work = asyncio.create_task(_told(child, "w195"))
    await child.busy()
    child.stop()
    await child.draining()
    child.stop()
    await child.process.wait()
    assert isinstance((await asyncio.gather(work, return_exceptions=True))[0], EOFError | OSError)


async def start(child: Child) -> None:
    async with asyncio.timeout(60):
        while b"starting on " not in (child.folder / "log").read_bytes():
            await asyncio.sleep(0.01)
    child.stop()


CASES = {
    "idle connections": Case(idle_connections, within=SPARE),
    "a request of two seconds": Case(request_of_two_seconds),
    "a request of forty seconds": Case(request_of_forty_seconds, grace=0.5, code=CUT),
    "an upload that stalls": Case(upload_that_stalls, within=SPARE),
    "a body that stalls": Case(body_that_stalls, grace=0.5, code=CUT),
    "a load of two seconds": Case(load_of_two_seconds),
    "a load of forty seconds": Case(load_of_forty_seconds, grace=0.5, code=CUT),
    "a download": Case(download, within=SPARE),
    "a client that does not read": Case(client_that_does_not_read, within=8.0),
    "one that does not, and little grace": Case(client_that_does_not_read, grace=0.5),
    "a second signal": Case(second_signal, code=130, within=1.0),
    "a start": Case(start, starting=40.0, within=SPARE),
}


async def stopped(name: str, folder: Path, python: str, slack: float) -> float:
    """Seconds from the first signal to the end of the process.

    Raises AssertionError or TimeoutError where a promise is broken, or time is over by more than
    `slack` seconds.
    """
    case = CASES[name]
    settings = f"[server]\ngrace_seconds = {case.grace}\n[batching]\nmax_inputs = {MANY}\n"
    limit = case.grace + SPARE if case.within is None else case.within
    async with child(folder, settings, python=python, starting=case.starting) as server:
        ending = asyncio.create_task(_end(server))
        async with asyncio.timeout(120):
            await case.run(server)
            took = await ending - server.told
    assert server.process.returncode == case.code, f"exit code {server.process.returncode}"
    assert took <= limit + slack, f"it took {took:.1f} s, not {limit:g}"
    return took


async def _end(child: Child) -> float:
    await child.process.wait()
    return time.monotonic()
