"""The runtime as HTTP sees it, without one: two-dimensional vectors and a single model."""

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np

from embedwell.app import App, create_app
from embedwell.config.schema import Server
from embedwell.errors import Invalid, ModelNotFound, ReadOnly
from embedwell.interfaces.embedding import EmbeddingCall, Embeddings, Timings
from embedwell.interfaces.events import Event
from embedwell.interfaces.models import ModelKey, ModelRef, Snapshot
from embedwell.interfaces.plugins import Plugin
from embedwell.interfaces.routes import Access, Handler, Mount, Reply, Request, Route
from embedwell.interfaces.services import Listed
from embedwell.interfaces.status import (
    CacheCounters,
    CacheStatus,
    Cleared,
    Deleted,
    Info,
    MemoryInfo,
    ModelCard,
    PluginInfo,
    Readiness,
    Warming,
)
from embedwell.interfaces.tasks import Task
from embedwell.tasks.runner import TaskRunner
from embedwell.testing import FakeClock

TAG = "owner/model"


class FakeRegistry:
    def __init__(self) -> None:
        key = ModelKey("huggingface", TAG, "abc")
        self.listed = Listed(Snapshot(Path("snapshot"), key, "digest"), ("package",))

    @asynccontextmanager
    async def open(self, ref: ModelRef) -> AsyncIterator[Snapshot]:
        yield (await self.describe(ref)).snapshot

    async def models(self) -> Sequence[Listed]:
        return [self.listed]

    async def describe(self, ref: ModelRef) -> Listed:
        if ref.name != TAG:
            raise ModelNotFound(str(ref))
        return self.listed


class FakeEmbedder:
    """Answers `[number of the input, 0.5]`; a test may replace `answer`."""

    def __init__(self) -> None:
        self.calls: list[EmbeddingCall] = []
        self.truncated: Sequence[int] = ()
        self.answer: Callable[[EmbeddingCall], Awaitable[Embeddings]] = self.rows

    async def embed(self, call: EmbeddingCall) -> Embeddings:
        self.calls.append(call)
        return await self.answer(call)

    async def rows(self, call: EmbeddingCall) -> Embeddings:
        if call.ref.name != TAG:
            raise ModelNotFound(str(call.ref))
        rows = np.array([[i, 0.5] for i in range(len(call.texts))], np.float32)
        timings = Timings(tokenize=0.001, queue=0.002, inference=0.003, total=0.006)
        return Embeddings(rows, 3 * len(rows), self.truncated, timings, TAG)


class FakeCounters:
    """`found` is what it knows."""

    def __init__(self) -> None:
        self.found: dict[str, Mapping[str, int]] = {}

    def days(self, tag: str) -> Mapping[str, int] | None:
        return self.found.get(tag)


class FakeCore:
    def __init__(self, *routes: Route | Mount, server: Server | None = None) -> None:
        self.server = server or Server()
        self.max_inputs = 2048
        self.embedder = FakeEmbedder()
        self.registry = FakeRegistry()
        self.plugins: list[tuple[str, Plugin]] = []
        self.routes: Sequence[Route | Mount] = routes
        self.events: list[Event] = []
        self.emit: Callable[[Event], None] = self.events.append
        ticks = itertools.count()
        self.clock: Callable[[], float] = lambda: next(ticks) / 1000
        self.readiness = Readiness(True)
        self.tasks = TaskRunner(self.events.append, FakeClock(), FakeClock())
        self.counters = FakeCounters()
        self.aliases: dict[str, str] = {}
        self.in_flight: Callable[[], int] = lambda: 0

    def parse_tag(self, text: str) -> ModelRef:
        if not text or " " in text:
            raise Invalid("Invalid value for model: not a tag", param="model")
        return ModelRef(text)

    def canonical(self, ref: ModelRef) -> str:
        return self.aliases.get(ref.name, ref.name)

    async def delete(self, ref: ModelRef) -> Deleted:
        raise ReadOnly(f"Models of this source are read-only: {ref}")

    async def preload(
        self, refs: Sequence[ModelRef] | None, most: int | None
    ) -> tuple[Task, Sequence[Warming]]:
        task = Task(id="1", kind="preload", key="", status="queued")
        return task, [Warming(model=str(ref), status="queued") for ref in refs or ()]

    def cache_status(self) -> CacheStatus:
        return CacheStatus(
            strategy="fixed_size",
            settings={},
            device="cpu",
            memory=MemoryInfo(4, 1, 3, 1),
            models=(),
            counters=CacheCounters(),
        )

    async def clear(self, refs: Sequence[ModelRef] | None) -> Cleared:
        return Cleared([str(ref) for ref in refs or ()], ())

    async def card(self, listed: Listed) -> ModelCard:
        return ModelCard(
            name=listed.snapshot.key.name,
            source=listed.snapshot.key.source,
            shadowed=listed.shadowed,
            revision=listed.snapshot.key.revision,
            state="available",
            created=1,
            dimensions=2,
        )

    async def ready(self) -> Readiness:
        return self.readiness

    def info(self) -> Info:
        return Info(
            version="0",
            device="cpu",
            dtype="float32",
            strategy="fixed_size",
            sources=(),
            running=[],
            loaded=(),
            queued_tokens=0,
            limits={"max_inputs": self.max_inputs},
            event_loop="asyncio",
            libraries={},
        )

    def plugin_infos(self) -> Sequence[PluginInfo]:
        return [PluginInfo(name="p", distribution="d", version="1", state="active")]


def app_of(*routes: Route | Mount, server: Server | None = None) -> App:
    return create_app(FakeCore(*routes, server=server))


def route(
    handler: Handler,
    method: str = "GET",
    path: str = "/test",
    *,
    access: Access = "embed",
    body: type | None = None,
    stream: bool = False,
    max_body: int | None = None,
) -> Route:
    return Route(
        method=method,
        path=path,
        handler=handler,
        access=access,
        summary="a test's own",
        body=body,
        stream=stream,
        max_body=max_body,
    )


async def ok(request: Request) -> Reply:
    return Reply(body={"path": request.head.path, "args": dict(request.args)})


def raising(error: BaseException) -> Handler:
    async def handler(request: Request) -> Reply:
        raise error

    return handler
