"""T24: every code that a client can meet, each forced once; no answer tells of the server's inside."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from embedwell import (
    Caller,
    Fetch,
    Forbidden,
    ModelKey,
    ModelRef,
    Plugin,
    PluginSpec,
    Progress,
    RateLimited,
    Reply,
    Request,
    RequestHead,
    Route,
    Snapshot,
    Source,
    SourceSpec,
    Unauthorized,
    hookimpl,
)
from embedwell.config.schema import Server, Sources, Store
from embedwell.testing import FakeBackend, make_model_folder
from embedwell.testing.server import RunningServer, running_server
from tests.e2e.conftest import Nothing, TinyModels, config
from tests.faults import envelope, rawhttp
from tests.faults.rawhttp import JSON, Answer

SECRET = "/usr/lib/python3/site-packages/secret.py: Traceback (most recent call last)"
POISON = 5 + 66  # w66
REFUSALS = {"u": Unauthorized("Keys only"), "f": Forbidden("Not you"), "r": RateLimited("Slower")}
ZIP = ("Content-Type", "application/zip")


async def never(progress: Progress) -> Snapshot:
    return await asyncio.Future[Snapshot]()


class Broken(Source):
    """Has what its models' names say."""

    async def resolve(self, ref: ModelRef) -> Any:
        match ref.name:
            case "source-breaks":
                raise OSError(SECRET)
            case "nowhere":
                return Snapshot(Path(SECRET), ModelKey("broken", ref.name, "1"), "digest")
            case "comes-slowly":
                return Fetch(ModelKey("broken", ref.name, "1"), never)
        return None

    async def models(self) -> Sequence[Snapshot]:
        return ()


class Strict(Plugin):
    """Refuses whoever asks to be refused, and breaks where it is asked to."""

    async def guard(self, head: RequestHead) -> Caller | None:
        error = REFUSALS.get(head.headers.get(b"x-refuse", b"").decode())
        if error is not None:
            raise error
        return None

    def routes(self) -> Sequence[Route]:
        async def breaks(request: Request) -> Reply:
            raise RuntimeError(SECRET)

        return [Route(method="GET", path="/breaks", handler=breaks, access="embed", summary="")]


class Faulty:
    """Both as one plugin."""

    @hookimpl
    def register_sources(self) -> Sequence[SourceSpec[Any]]:
        return [SourceSpec(name="broken", summary="", priority=50, config=Nothing, build=Broken)]

    @hookimpl
    def register_plugins(self) -> Sequence[PluginSpec[Any]]:
        return [PluginSpec(name="strict", summary="", config=Nothing, build=Strict)]


def fail() -> None:
    raise OSError(SECRET)


@pytest.fixture
def backend() -> FakeBackend:
    return FakeBackend(faults={POISON: fail})


@pytest.fixture
async def server(tmp_path: Path, backend: FakeBackend) -> AsyncIterator[RunningServer]:
    for name in ("tiny", "other"):
        make_model_folder(tmp_path / "models" / name)
    tables = {"huggingface": {"download": "never"}, "upload": {"max_concurrent": 1}, "broken": {}}
    settings = config(
        tmp_path,
        server=Server(data_dir=str(tmp_path / "data"), body_timeout=0.5),
        sources=Sources(load_timeout=0.2, tables=tables),
        store=Store(max_disk_gb=0.001),
    )
    modules = [TinyModels(tmp_path / "models"), Faulty()]
    async with running_server(settings, modules=modules, backend=backend) as running:
        yield running


class Case:
    """One way to a code: a request to `port`, blocking."""

    def __init__(self, code: str, ask: Callable[[int], Answer], path: str = "") -> None:
        self.code, self.ask, self.path = code, ask, path


def embed(model: str, text: Any = "w1", *headers: tuple[str, str]) -> Callable[[int], Answer]:
    body = {"model": model, "input": text}
    return lambda port: rawhttp.post(port, "/v1/embeddings", body, *headers)


def get(path: str, *headers: tuple[str, str]) -> Callable[[int], Answer]:
    return lambda port: rawhttp.ask(port, "GET", path, None, headers)


def raw(*pieces: bytes) -> Callable[[int], Answer]:
    return lambda port: rawhttp.exchange(port, pieces)[0]


def begun(method: str, path: str, length: int, *headers: tuple[str, str]) -> bytes:
    """A request of which one byte has come."""
    return rawhttp.head(method, path, [*headers, ("Content-Length", str(length))]) + b"{"


def upload(content: bytes) -> Callable[[int], Answer]:
    return lambda port: rawhttp.ask(port, "PUT", "/models/upload?model=m", content, [ZIP])


V1 = "/v1/embeddings"
CASES = [
    Case("BAD_REQUEST", lambda port: rawhttp.post(port, V1, b"{")),
    Case("BAD_REQUEST", get("/models/%2e%2e/%2e%2e/etc/passwd")),
    Case("BAD_REQUEST", raw(b"\0\r\n\r\n")),
    Case("VALIDATION_ERROR", embed("tiny", 5), V1),
    Case("UNAUTHORIZED", get("/models", ("X-Refuse", "u"))),
    Case("FORBIDDEN", get("/models", ("X-Refuse", "f"))),
    Case("RATE_LIMITED", get("/models", ("X-Refuse", "r"))),
    Case("NOT_FOUND", get("/nothing")),
    Case("NOT_FOUND", get("/models/nobody")),
    Case("NOT_FOUND", get("/tasks/0")),
    Case("NOT_FOUND", embed("nobody")),
    Case("METHOD_NOT_ALLOWED", get("/embeddings")),
    Case("TIMEOUT", embed("tiny", "w1", ("X-Request-Timeout", "0.000000001"))),
    Case("TIMEOUT", raw(begun("POST", V1, 10, *JSON))),
    Case("CONFLICT", lambda port: rawhttp.ask(port, "DELETE", "/models/tiny")),
    Case("PAYLOAD_TOO_LARGE", raw(begun("POST", V1, 10**12, *JSON))),
    Case("PAYLOAD_TOO_LARGE", get("/" + "a" * 9_000)),
    Case("PAYLOAD_TOO_LARGE", get("/health", ("X-Long", "a" * 40_000))),
    Case("UNSUPPORTED_MEDIA_TYPE", lambda port: rawhttp.ask(port, "POST", V1, b"{}")),
    Case("INVALID_MODEL", upload(b"PK\x03\x04 but no archive")),
    Case("INVALID_MODEL", embed("nowhere"), V1),
    Case("MODEL_ERROR", embed("tiny", ["w1", "w66"])),
    Case("SOURCE_ERROR", embed("source-breaks")),
    Case("LOADING", embed("comes-slowly")),
    Case("INSUFFICIENT_STORAGE", raw(begun("PUT", "/models/upload?model=m", 5_000_000, ZIP))),
    Case("INTERNAL", get("/breaks")),
]


async def told(server: RunningServer, case: Case) -> str:
    answer = await asyncio.to_thread(case.ask, server.port)
    return envelope.check(answer, case.code, case.path)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.code)
async def test_t24_a_refusal_tells_nothing_of_the_inside(server: RunningServer, case: Case) -> None:
    await told(server, case)


async def test_t24_nor_does_a_load_that_fails(
    server: RunningServer, backend: FakeBackend
) -> None:
    backend.failures += [MemoryError(SECRET)] * 2  # it is tried once more
    await told(server, Case("MEMORY_ERROR", embed("tiny")))
    backend.failures += [RuntimeError(SECRET)]
    await told(server, Case("MODEL_ERROR", embed("other")))


async def test_t24_nor_does_a_server_that_has_enough(server: RunningServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as holding:
        holding.sendall(begun("PUT", "/models/upload?model=a", 100, ZIP))
        while server.app.in_flight == 0:
            await asyncio.sleep(0)
        await told(server, Case("OVERLOADED", upload(b"PK")))


async def test_t24_nor_does_one_that_stops(server: RunningServer) -> None:
    server.app.begin_drain()
    await told(server, Case("DRAINING", embed("tiny")))


def test_t24_every_code_is_forced() -> None:
    forced = {case.code for case in CASES} | {"MEMORY_ERROR", "OVERLOADED", "DRAINING"}
    assert forced == {*envelope.CODES, *envelope.OTHERS}
