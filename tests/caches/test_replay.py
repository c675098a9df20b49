"""The simulator against the server: the same requests bring the same loads and evictions."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import Struct

from embedwell import (
    BlockingSource,
    EmbeddingCall,
    Event,
    ModelEvicted,
    ModelLoaded,
    ModelRef,
    Need,
    Snapshot,
    SourceSpec,
    hookimpl,
)
from embedwell.config.schema import Batching, Cache, Config, Server, Sources
from embedwell.interfaces.encoders import UNTRIED, Trial
from embedwell.interfaces.models import Manifest
from embedwell.loader.load import load
from embedwell.runtime import Runtime
from embedwell.testing import FakeBackend, FakeClock, FakeEncoder, FakeMemory, make_model_folder
from tests.benchmarks.cache.cells import TUNING, Cell
from tests.benchmarks.cache.contest import average_count, by_count, by_value
from tests.benchmarks.cache.loads import Case, Model, make_case
from tests.benchmarks.cache.simulator import Change, simulate

REQUESTS = 300
SHORTENED = [Cell("shift", 0.9, 0.5), Cell("loop", 0.6, 0.5)]


class Nothing(Struct, frozen=True, forbid_unknown_fields=True):
    """No settings."""


class Folders:
    """A plugin: each folder below `path` is a model, whose content never changes."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @hookimpl
    def register_sources(self) -> Sequence[SourceSpec[Any]]:
        path = self.path

        class Folder(BlockingSource):
            def find(self, ref: ModelRef) -> Snapshot | None:
                folder = path / ref.name
                found = folder.is_dir()
                return Snapshot.of_folder(folder, "folders", ref.name) if found else None

        spec = SourceSpec(name="folders", summary="", priority=500, config=Nothing, build=Folder)
        return [spec]


class Timed(FakeBackend):
    """Bytes and load seconds are those of the case; dimensions tell which model it is."""

    def __init__(self, case: Case, clock: FakeClock) -> None:
        super().__init__(memory=FakeMemory(case.capacity))
        self._models = {dimensions(i): model for i, model in enumerate(case.models.values())}
        self._clock = clock

    def estimate(self, manifest: Manifest) -> Need:
        return self._model(manifest).need

    def load(self, path: Path, manifest: Manifest, trial: Trial = UNTRIED) -> FakeEncoder:
        encoder = super().load(path, manifest, trial)
        self._clock.now += self._model(manifest).seconds
        return encoder

    def _model(self, manifest: Manifest) -> Model:
        return self._models[manifest.dimensions]


def dimensions(place: int) -> int:
    return 2 * (place + 1)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models")
    for place, name in enumerate(make_case(SHORTENED[0], TUNING[0]).models):
        make_model_folder(path / name, hidden=dimensions(place))
    return path


def shortened(cell: Cell) -> Case:
    case = make_case(cell, TUNING[0])
    return msgspec.structs.replace(case, requests=case.requests[:REQUESTS])


def configured(case: Case, strategy: str, data_dir: Path) -> Config:
    tables = {"fixed_size": {"max_models": average_count(case)}, "vram_aware": {}}
    return Config(
        server=Server(data_dir=str(data_dir)),
        batching=Batching(max_batch_tokens=512),
        cache=Cache(strategy=strategy, safety_margin_gb=0, tables={strategy: tables[strategy]}),
        sources=Sources(tables={"huggingface": {"download": "never"}}),
    )


async def replay(case: Case, strategy: str, folders: Path, data_dir: Path) -> list[Change]:
    """What a whole server without HTTP makes of the case, one request after the other."""
    clock = FakeClock(0.0)
    settings = configured(case, strategy, data_dir)
    plugins = load(settings, modules=[Folders(folders)])
    backend = Timed(case, clock)
    runtime = Runtime(settings, plugins=plugins, backend=backend, clock=clock, wall=clock)
    events: list[Event] = []
    async with runtime:
        await runtime.warmed()
        runtime.observe("replay", events.append)
        for arrival, name in case.requests:
            clock.now = max(clock.now, arrival)
            call = EmbeddingCall(ref=ModelRef(name), texts=((5, 6, 7),), timeout=30)
            await runtime.embedder.embed(call)
            while any(resident.leases for resident in runtime.cache.residents()):
                await asyncio.sleep(0)
    return changes(events)


def changes(events: Sequence[Event]) -> list[Change]:
    made: list[Change] = []
    evicted: list[str] = []
    for event in events:
        if isinstance(event, ModelEvicted):
            evicted.append(event.model)
        if isinstance(event, ModelLoaded):
            made.append(Change(event.model, tuple(evicted)))
            evicted.clear()
    assert not evicted
    return made


@pytest.mark.parametrize("cell", SHORTENED, ids=lambda cell: str(cell.name))
@pytest.mark.parametrize(
    ("strategy", "policy"),
    [("vram_aware", by_value), ("fixed_size", by_count)],
    ids=["vram_aware", "fixed_size"],
)
async def test_the_server_loads_what_the_simulator_does(
    cell: Cell, strategy: str, policy: Any, folders: Path, tmp_path: Path
) -> None:
    case = shortened(cell)
    simulated = simulate(case, policy(case)).changes
    assert sum(len(change.evicted) for change in simulated) > 50
    assert await replay(case, strategy, folders, tmp_path) == simulated
