"""What a model computes in: said over HTTP, and found out once for all restarts."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from embedwell.config.schema import Engine
from embedwell.engine.cpu.backend import CpuBackend
from embedwell.interfaces.encoders import UNTRIED, Encoder, Trial
from embedwell.interfaces.models import Manifest
from embedwell.samples import TEXTS
from embedwell.testing import FakeBackend
from embedwell.testing.server import RunningServer, running_server
from tests.e2e.conftest import Start, config
from tests.e2e.minilm import MINILM, vectors


class Watched(CpuBackend):
    """The real engine; keeps what its loads are tried with."""

    def __init__(self, dtype: str) -> None:
        super().__init__(2, dtype)
        self.trials: list[Trial] = []

    def load(self, path: Path, manifest: Manifest, trial: Trial = UNTRIED) -> Encoder:
        self.trials.append(trial)
        return super().load(path, manifest, trial)


def client(running: RunningServer) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=running.url, timeout=120)


async def told(http: httpx.AsyncClient) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The server at a glance, and of its one model what that says and what the cache says."""
    info = (await http.get("/info")).json()
    (running,) = info["running"]
    (row,) = (await http.get("/embeddings/cache/status")).json()["models"]
    return info, running, row


@pytest.mark.timeout(300)
async def test_a_restart_checks_nothing_again_and_says_the_same(tmp_path: Path) -> None:
    settings = config(tmp_path, engine=Engine(device="cpu", dtype="bfloat16"))
    backend = Watched("bfloat16")
    async with running_server(settings, backend=backend) as running, client(running) as http:
        first = await vectors(http)
        info, said, row = await told(http)
    (trial,) = backend.trials
    assert trial.samples is not None
    assert (len(trial.samples.lengths), trial.known) == (len(TEXTS), None)
    assert (info["dtype"], said["model"], said["dtype"]) == ("bfloat16", MINILM, "bfloat16")
    assert (said["packed"], said["cosine"] >= 0.9995) == (True, True)
    why = "packed and single texts agree; bfloat16 keeps its vectors to a cosine of 0.999"
    assert said["why"].startswith(why)
    assert (row["dtype"], row["packed"], row["why"]) == ("bfloat16", True, said["why"])
    assert row["bytes"] < 60_000_000, "half of what it takes in float32"
    backend = Watched("bfloat16")
    async with running_server(settings, backend=backend) as running, client(running) as http:
        assert (await vectors(http) == first).all()
        _, again, row_again = await told(http)
    assert again == said
    for changes in ("last_used", "load_seconds"):
        del row[changes], row_again[changes]
    assert row_again == row
    (trial,) = backend.trials
    assert trial.samples is None
    assert trial.known is not None
    assert trial.known.why == said["why"]


@pytest.mark.timeout(300)
async def test_another_precision_is_another_finding(tmp_path: Path) -> None:
    for dtype in ("bfloat16", "float32"):
        backend = Watched(dtype)
        settings = config(tmp_path, engine=Engine(device="cpu", dtype=dtype))
        async with running_server(settings, backend=backend) as running, client(running) as http:
            await vectors(http)
            assert (await told(http))[1]["dtype"] == dtype
        assert [trial.known for trial in backend.trials] == [None]


async def test_while_it_loads_a_model_shows_what_is_asked_for(tiny: Start) -> None:
    backend = FakeBackend()
    async with tiny(backend) as running, client(running) as http:
        assert (await http.get("/info")).json()["running"] == []
        await http.post("/embeddings", json={"model": "tiny", "input": "w1"})
        _, said, row = await told(http)
    assert said == {"model": "tiny", "dtype": "float32", "packed": True, "cosine": None, "why": ""}
    assert (row["dtype"], row["packed"], row["why"]) == ("float32", True, "")
