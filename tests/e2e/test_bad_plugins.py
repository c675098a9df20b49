"""A source that raises, lies or hangs costs requests for its own models, and nothing else."""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from embedwell import (
    BlockingSource,
    Fetch,
    ModelKey,
    ModelRef,
    Snapshot,
    Source,
    SourceSpec,
    hookimpl,
)
from embedwell.config.schema import Sources
from embedwell.errors import PluginError
from embedwell.interfaces.models import Progress
from embedwell.testing import FakeBackend, make_model_folder
from embedwell.testing.server import running_server
from tests.e2e.conftest import config
from tests.faults.fake_models import Nothing, TinyModels

Serve = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]
THREADS = 8  # that one source has


class Panic(BaseException):
    """As extension modules raise it."""


ERRORS = [RuntimeError("/secret/path"), OSError("/secret/path"), Panic("no"), SystemExit(3)]


class Bad:
    """A plugin whose source is asked after the one that works."""

    def __init__(self, build: Callable[..., Any]) -> None:
        self.build = build

    @hookimpl
    def register_sources(self) -> Sequence[SourceSpec[Any]]:
        spec = SourceSpec(
            name="bad", summary="tests", priority=50, config=Nothing, build=self.build
        )
        return [spec]


@pytest.fixture
def serve(tmp_path: Path) -> Serve:
    """`async with serve(build, …) as client`: a good source, and a bad one after it."""

    @asynccontextmanager
    async def start(build: Callable[..., Any], **sources: Any) -> Any:
        make_model_folder(tmp_path / "models" / "good")
        tables = {"huggingface": {"download": "never"}, "bad": {}}
        settings = config(tmp_path, sources=Sources(tables=tables, **sources))
        modules = [TinyModels(tmp_path / "models"), Bad(build)]
        async with (
            running_server(settings, modules=modules, backend=FakeBackend()) as server,
            httpx.AsyncClient(base_url=server.url, timeout=30) as client,
        ):
            yield client

    return start


async def embed(client: httpx.AsyncClient, model: str) -> httpx.Response:
    return await client.post("/embeddings", json={"model": model, "input": "w1"})


async def refused(client: httpx.AsyncClient, why: str, model: str = "theirs") -> None:
    answer = await embed(client, model)
    assert (answer.status_code, answer.json()["code"]) == (502, "SOURCE_ERROR")
    assert answer.json()["detail"] == why
    assert "secret" not in answer.text


async def unharmed(client: httpx.AsyncClient) -> None:
    """The rest is served and listed."""
    answer = await embed(client, "good")
    assert answer.status_code == 200, answer.text
    for path in ("/models", "/v1/models"):
        listed = await client.get(path)
        assert listed.status_code == 200
        assert [row["id"] for row in listed.json()["data"]] == ["good"]
    assert (await client.get("/models/good")).status_code == 200
    assert (await client.get("/ready")).status_code == 200


def said(caplog: pytest.LogCaptureFixture, what: str) -> bool:
    loud = [record for record in caplog.records if record.levelno >= logging.WARNING]
    return any(what in record.getMessage() for record in loud)


@pytest.mark.parametrize("blocking", [False, True], ids=["async", "thread"])
@pytest.mark.parametrize("error", ERRORS, ids=repr)
async def test_one_that_raises(
    serve: Serve, caplog: pytest.LogCaptureFixture, error: BaseException, blocking: bool
) -> None:
    class Raises(Source):
        async def resolve(self, ref: ModelRef) -> Any:
            raise error

        async def models(self) -> Any:
            raise error

        async def aclose(self) -> None:
            raise RuntimeError("at the end, too")

    class RaisesInThread(BlockingSource):
        def find(self, ref: ModelRef) -> Any:
            raise error

        def list_models(self) -> Any:
            raise error

    async with serve(RaisesInThread if blocking else Raises) as client:
        await refused(
            client, "Source bad failed to resolve theirs; the server's log has the reason"
        )
        await unharmed(client)
    assert said(caplog, "source bad failed to resolve theirs")
    assert said(caplog, "source bad is left out of the listing")


@pytest.mark.parametrize("junk", [5, "x", [1], {"a": 1}, object], ids=repr)
@pytest.mark.parametrize("blocking", [False, True], ids=["async", "thread"])
async def test_one_that_returns_junk(
    serve: Serve, caplog: pytest.LogCaptureFixture, junk: object, blocking: bool
) -> None:
    class Junk(Source):
        async def resolve(self, ref: ModelRef) -> Any:
            return junk

        async def models(self) -> Any:
            return junk

    class JunkInThread(BlockingSource):
        def find(self, ref: ModelRef) -> Any:
            return junk

        def list_models(self) -> Any:
            return junk

    async with serve(JunkInThread if blocking else Junk) as client:
        await refused(client, "Source bad gave no usable answer for theirs")
        await unharmed(client)
    method = "find" if blocking else "resolve"
    gave = f"{method}() gave {type(junk).__name__}; it must give a Snapshot, a Fetch or None"
    assert said(caplog, f"source bad cannot answer for theirs: {gave}")


async def test_one_whose_models_are_not_there(serve: Serve, tmp_path: Path) -> None:
    lie = Snapshot(tmp_path / "nowhere", ModelKey("bad", "theirs", "r1"), "digest")

    class Lies(Source):
        async def resolve(self, ref: ModelRef) -> Any:
            return lie

        async def models(self) -> Any:
            return [lie]

    async with serve(Lies) as client:
        answer = await embed(client, "theirs")
        assert (answer.status_code, answer.json()["code"]) == (422, "INVALID_MODEL")
        assert str(tmp_path) not in answer.text
        rows = (await client.get("/models")).json()["data"]
        assert [(row["id"], row["state"]) for row in rows] == [
            ("good", "available"),
            ("theirs", "failed"),
        ]
        assert (await embed(client, "good")).status_code == 200


async def test_one_that_never_answers(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    class Hangs(Source):
        async def resolve(self, ref: ModelRef) -> Any:
            await asyncio.Event().wait()

        async def models(self) -> Any:
            await asyncio.Event().wait()

    async with serve(Hangs, resolve_timeout=0.5) as client:
        await refused(client, "Source bad took longer than 0.5 s to resolve theirs")
        await unharmed(client)
    assert said(caplog, "Source bad took longer than 0.5 s to list its models")


@pytest.fixture
def never() -> Iterator[threading.Event]:
    """Not set before the test is over."""
    made = threading.Event()
    yield made
    made.set()


async def test_threads_that_never_return_are_its_own(serve: Serve, never: threading.Event) -> None:
    class Hangs(BlockingSource):
        def find(self, ref: ModelRef) -> Any:
            never.wait()

        def list_models(self) -> Any:
            never.wait()

    async with serve(Hangs, resolve_timeout=0.5) as client:
        why = "Source bad took longer than 0.5 s to resolve "
        models = [f"theirs-{i}" for i in range(THREADS + 4)]
        await asyncio.gather(*[refused(client, why + model, model) for model in models])
        await unharmed(client)
        never.set()


@pytest.mark.parametrize("error", ERRORS, ids=repr)
async def test_a_download_that_raises(serve: Serve, error: BaseException) -> None:
    async def run(progress: Progress) -> Any:
        raise error

    class Offers(Source):
        async def resolve(self, ref: ModelRef) -> Any:
            return Fetch(ModelKey("bad", ref.name, "r1"), run)

    async with serve(Offers) as client:
        await refused(client, "Source bad failed to fetch theirs; the server's log has the reason")
        (task,) = (await client.get("/tasks")).json()["tasks"]
        assert task["status"] == "failed"
        assert task["error"] == "download bad:theirs@r1 failed for an internal reason"
        await unharmed(client)


def no_bucket(config: object, services: object) -> Any:
    raise RuntimeError("no bucket")


def panics(config: object, services: object) -> Any:
    raise Panic("native code")


@pytest.mark.parametrize(
    ("build", "why"),
    [
        (no_bucket, "source bad (Bad given) failed to start: RuntimeError: no bucket"),
        (panics, "source bad (Bad given) failed to start: Panic: native code"),
        (
            lambda config, services: {},
            "source bad (Bad given) cannot be used: its build gave a dict, not a Source",
        ),
        (Source, "source bad (Bad given) cannot be used: Source must define resolve()"),
        (
            BlockingSource,
            "source bad (Bad given) cannot be used: BlockingSource must define find()",
        ),
    ],
)
async def test_one_that_the_configuration_names_and_that_cannot_be_built_stops_the_start(
    serve: Serve, build: Callable[..., Any], why: str
) -> None:
    with pytest.raises(PluginError) as caught:
        async with serve(build):
            pytest.fail("it started")
    assert caught.value.message == why
