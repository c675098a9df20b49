"""The request path by itself: its times, its second try, and who finishes the rows."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ParamSpec, TypeVar

import numpy as np
import pytest
from msgspec import structs

from embedwell.batching.batcher import Batcher
from embedwell.cache.model_cache import ModelCache
from embedwell.config.schema import Batching
from embedwell.embedder import RequestPath, check_dimensions, finish
from embedwell.errors import DeadlineExceeded, Invalid, OutOfMemory
from embedwell.interfaces.embedding import EmbeddingCall, Timings, Tokens
from embedwell.interfaces.encoders import Batch, DeviceOutOfMemory
from embedwell.interfaces.events import Embedded, Event
from embedwell.interfaces.models import Manifest, ModelRef, Snapshot
from embedwell.loads import BackendLoader
from embedwell.models.manifests import Manifests
from embedwell.state.costs import Costs
from embedwell.state.database import Database
from embedwell.tasks.threads import BoundedThreads
from embedwell.testing import FakeBackend, FakeClock
from embedwell.testing.devices import vector
from embedwell.tokenization.tokenizers import Tokenizers
from embedwell_cache_fixed.strategy import Config, FixedSize
from tests.core.cache.cache_bench import snapshot
from tests.core.tokenization.small_tokenizers import MANIFEST

P = ParamSpec("P")
T = TypeVar("T")


class OneToken(Tokenizers):
    """Makes a text's length its only token, in so many seconds."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(BoundedThreads(1))
        self._clock = clock
        self.seconds = 0.0

    async def encode(self, snapshot: Snapshot, manifest: Manifest, call: EmbeddingCall) -> Tokens:
        self._clock.now += self.seconds
        ids = tuple(token(len(text)) for text in call.texts)
        return Tokens(ids, (1,) * len(ids), 0)


def token(number: int) -> bytes:
    return number.to_bytes(4, "little")


class Models:
    """A registry that has every model, unless it fails."""

    def __init__(self) -> None:
        self.error: Exception | None = None

    @asynccontextmanager
    async def open(self, ref: ModelRef) -> AsyncIterator[Snapshot]:
        if self.error is not None:
            raise self.error
        yield snapshot(ref.name)


class Watched(BoundedThreads):
    """Keeps what it was asked to run."""

    def __init__(self) -> None:
        super().__init__(1)
        self.ran: list[object] = []

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        self.ran.append(function)
        return await super().run(function, *args, **kwargs)


class Bench:
    """The path over a real batcher and cache."""

    def __init__(self, costs: Costs, manifest: Manifest = MANIFEST) -> None:
        self.clock = FakeClock()
        self.backend = FakeBackend()
        self.models = Models()
        self.tokenizers = OneToken(self.clock)
        self.threads = Watched()
        self.events: list[Event] = []
        manifests = Manifests(BoundedThreads(1), lambda path: manifest)
        self.batcher = self._batcher()
        self.cache = self._cache(manifests, costs)
        self.path = RequestPath(
            registry=self.models,  # type: ignore[arg-type]
            manifests=manifests,
            tokenizers=self.tokenizers,
            batcher=self.batcher,
            cache=self.cache,
            threads=self.threads,
            dtype="float32",
            max_inputs=10,
            emit=self.events.append,
            clock=self.clock,
        )

    def _batcher(self) -> Batcher:
        return Batcher(
            Batching(),
            device="fake",
            check=self.backend.check,
            horizon=60,
            emit=self.events.append,
            clock=self.clock,
        )

    def _cache(self, manifests: Manifests, costs: Costs) -> ModelCache:
        async def samples(snapshot: Snapshot, manifest: Manifest) -> Batch:
            return Batch(token(1), (1,), (0,))

        return ModelCache(
            BackendLoader(self.backend, manifests, costs, engine="e", samples=samples),
            FixedSize(Config(max_models=2)),
            self.backend.memory,
            safety=0,
            emit=self.events.append,
            clock=self.clock,
            wall=self.clock,
        )

    def passing(self, seconds: float) -> Callable[[], None]:
        """Something that takes so long."""

        def passes() -> None:
            self.clock.now += seconds

        return passes

    @property
    def outcomes(self) -> list[str]:
        return [event.outcome for event in self.events if isinstance(event, Embedded)]


@pytest.fixture
async def costs(tmp_path: Path) -> AsyncIterator[Costs]:
    database = await Database.open(tmp_path / "state.sqlite3")
    yield await Costs.open(database)
    await database.aclose()


@asynccontextmanager
async def opened(costs: Costs, manifest: Manifest = MANIFEST) -> AsyncIterator[Bench]:
    bench = Bench(costs, manifest)
    try:
        yield bench
    finally:
        await bench.batcher.aclose()
        await bench.cache.aclose()


def call(*texts: str, model: str = "A", timeout: float = 60) -> EmbeddingCall:
    return EmbeddingCall(ref=ModelRef(model), texts=texts or ("x",), timeout=timeout)


async def test_each_second_is_counted_where_it_was_spent(costs: Costs) -> None:
    async with opened(costs) as bench:
        bench.tokenizers.seconds = 2
        bench.backend.load_faults = {"A": bench.passing(5)}
        bench.backend.faults = {4: bench.passing(3)}
        first = await bench.path.embed(call("four"))
        assert first.timings == Timings(tokenize=2, queue=5, inference=3, total=10)
        again = await bench.path.embed(call("four"))
        assert again.timings == Timings(tokenize=2, queue=0, inference=3, total=5)


async def test_what_came_before_a_failure_is_told_with_it(costs: Costs) -> None:
    async with opened(costs) as bench:
        bench.tokenizers.seconds = 2
        bench.backend.load_faults = {"A": bench.passing(5)}
        bench.backend.failures = [DeviceOutOfMemory("full"), DeviceOutOfMemory("full")]
        with pytest.raises(OutOfMemory):
            await bench.path.embed(call("four", "three"))
        (event,) = [event for event in bench.events if isinstance(event, Embedded)]
        assert (event.outcome, event.inputs, event.tokens) == ("MEMORY_ERROR", 2, 2)
        assert (event.tokenize_seconds, event.seconds) == (2, 12)


async def test_out_of_memory_takes_the_idle_models_and_is_tried_once_more(costs: Costs) -> None:
    async with opened(costs) as bench:
        await bench.path.embed(call(model="idle"))
        full = [DeviceOutOfMemory("full")]

        def fails_once() -> None:
            if full:
                raise full.pop()

        bench.backend.faults[4] = fails_once
        answer = await bench.path.embed(call("four"))
        assert np.array_equal(answer.rows, [vector(token(4), 8)])
        assert [resident.tag for resident in bench.cache.residents()] == ["A"]


async def test_and_only_once(costs: Costs) -> None:
    async with opened(costs) as bench:
        tries = []

        def fails() -> None:
            tries.append(1)
            raise DeviceOutOfMemory("full")

        bench.backend.faults[4] = fails
        with pytest.raises(OutOfMemory):
            await bench.path.embed(call("four"))
        assert len(tries) == 2


@pytest.mark.parametrize(("dimensions", "ran"), [(200_000, []), (200_001, [finish])])
async def test_many_values_are_finished_in_a_thread(
    costs: Costs, dimensions: int, ran: list[object]
) -> None:
    async with opened(costs, structs.replace(MANIFEST, dimensions=dimensions)) as bench:
        answer = await bench.path.embed(call("four"))
        assert np.array_equal(answer.rows, [vector(token(4), dimensions)])
        assert bench.threads.ran == ran


async def test_a_deadline_that_passes_is_told_as_one(costs: Costs) -> None:
    async with opened(costs) as bench:
        with pytest.raises(DeadlineExceeded, match="was not answered within 0 seconds"):
            await bench.path.embed(call(timeout=0))
        assert bench.outcomes == ["TIMEOUT"]


async def test_a_file_system_that_times_out_is_no_deadline(costs: Costs) -> None:
    async with opened(costs) as bench:
        bench.models.error = TimeoutError(110, "Connection timed out")
        with pytest.raises(TimeoutError, match="Connection timed out"):
            await bench.path.embed(call())
        assert bench.outcomes == ["INTERNAL"]


async def test_a_client_that_leaves_is_counted_as_that(costs: Costs) -> None:
    async with opened(costs) as bench:
        bench.backend.gate.clear()
        task = asyncio.create_task(bench.path.embed(call()))
        await asyncio.to_thread(bench.backend.loading.wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        bench.backend.gate.set()
        assert bench.outcomes == ["cancelled"]


@pytest.mark.parametrize("dimensions", [0, 9])
def test_dimensions_that_a_model_has_not(dimensions: int) -> None:
    asked = structs.replace(call(), dimensions=dimensions)
    with pytest.raises(Invalid) as told:
        check_dimensions(asked, MANIFEST)
    assert told.value.message == f"dimensions: {dimensions} asked for, the model has 8"
    assert told.value.param == "dimensions"


@pytest.mark.parametrize("dimensions", [None, 1, 8])
def test_dimensions_that_it_has(dimensions: int | None) -> None:
    check_dimensions(structs.replace(call(), dimensions=dimensions), MANIFEST)
