"""A source that raises, lies or hangs costs its own models and nothing else."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec import Struct

from embedwell import BlockingSource, Fetch, ModelKey, ModelRef, Snapshot, Source, SourceSpec
from embedwell import hookimpl
from embedwell.config.schema import Sources
from embedwell.testing import FakeBackend, make_model_folder
from embedwell.testing.server import running_server
from tests.e2e.conftest import Nothing, TinyModels, config


class Panic(BaseException):
    """As extension modules raise it."""


class Bad:
    """A plugin whose source does as it is told, below the one that works."""

    def __init__(self, build: Callable[..., Any], priority: int = 50) -> None:
        self.build = build
        self.priority = priority

    @hookimpl
    def register_sources(self) -> Sequence[SourceSpec[Any]]:
        return [
            SourceSpec(name="bad", summary="tests", priority=self.priority, config=Nothing, build=self.build)
        ]
def raising(error: BaseException) -> Callable[..., Any]:
    class Raises(Source):
        async def resolve(self, ref: ModelRef) -> Any:
            raise error
        async def models(self) -> Any:
            raise error
    return Raises
def raising_blocking(error):
    class Raises(BlockingSource):
        def find(self, ref: ModelRef) -> Any:
            raise error
        def list_models(self) -> Any:
            raise error
    return Raises

@asynccontextmanager
async def serve(tmp_path, build, priority=50, **sources):
    make_model_folder(tmp_path / "models" / "good")
    settings = config(tmp_path, sources=Sources(tables={"huggingface": {"download": "never"}}, **sources))
    modules = [TinyModels(tmp_path / "models"), Bad(build, priority)]
    async with (
        running_server(settings, modules=modules, backend=FakeBackend()) as server,
        httpx.AsyncClient(base_url=server.url, timeout=20) as client,
    ):
        yield client

@pytest.mark.parametrize("error", [RuntimeError("/secret"), Panic("x"), SystemExit(3), KeyboardInterrupt(), GeneratorExit(), asyncio.CancelledError(), StopIteration(), StopAsyncIteration()], ids=repr)
@pytest.mark.parametrize("kind", [raising, raising_blocking])
async def test_x(tmp_path, error, kind, caplog):
    async with serve(tmp_path, kind(error)) as client:
        async with asyncio.timeout(15):
            r = await client.post("/embeddings", json={"model": "good", "input": "w1"})
            assert r.status_code == 200
            r = await client.post("/embeddings", json={"model": "theirs", "input": "w1"})
            print(r.status_code, r.text)
            r2 = await client.get("/models")
            print(r2.status_code, r2.text)
            r = await client.post("/embeddings", json={"model": "good", "input": "w1"})
            assert r.status_code == 200
            assert r2.status_code == 200

def hanging(blocking, seen):
    never = threading.Event()
    if blocking:
        class Hangs(BlockingSource):
            def find(self, ref):
                seen.append(ref); never.wait(60)
            def list_models(self):
                seen.append(1); never.wait(60)
    else:
        class Hangs(Source):
            async def resolve(self, ref):
                await asyncio.Event().wait()
            async def models(self):
                await asyncio.Event().wait()
    Hangs.never = never
    return Hangs

@pytest.mark.parametrize("blocking", [False, True])
async def test_hang(tmp_path, blocking):
    seen = []
    b = hanging(blocking, seen)
    async with serve(tmp_path, b, resolve_timeout=0.2) as client:
      try:
        async with asyncio.timeout(30):
            for i in range(14):
                r = await client.post("/embeddings", json={"model": f"theirs{i}", "input": "w1"})
                r2 = await client.get("/models")
                r3 = await client.post("/embeddings", json={"model": "good", "input": "w1"})
                print(i, len(seen), r.status_code, r.json()["detail"], r2.status_code, len(r2.json()["data"]), r3.status_code, r3.text[:150])
      finally:
        b.never.set()

def raises_build(config, services):
    raise RuntimeError("no bucket")
async def test_build(tmp_path):
    async with serve(tmp_path, raises_build) as client:
        print((await client.get("/plugins")).text)
async def test_build_junk(tmp_path):
    async with serve(tmp_path, lambda c, s: object()) as client:
        print((await client.get("/plugins")).text)
        r = await client.post("/embeddings", json={"model": f"theirs", "input": "w1"})
        print(r.text)
        r = await client.get("/models")
        print(r.text)
@pytest.mark.parametrize("error", [RuntimeError("/secret"), Panic("x"), SystemExit(3)], ids=repr)
async def test_fetch(tmp_path, error):
    class F(Source):
        async def resolve(self, ref):
            async def run(progress): raise error
            return Fetch(ModelKey("bad", ref.name, "1"), run)
    async with serve(tmp_path, F) as client:
        r = await client.post("/embeddings", json={"model": f"theirs", "input": "w1"})
        print(r.text)
        r = await client.get("/tasks")
        print(r.text)
        r = await client.post("/embeddings", json={"model": f"good", "input": "w1"})
        print(r.status_code)
