"""The wall clock jumps by a day, either way: nothing is evicted, late, or lost."""

from pathlib import Path

import httpx
import pytest

from embedwell import ModelEvicted
from embedwell.config.schema import Cache
from embedwell.testing import FakeBackend, FakeClock, make_model_folder
from embedwell.testing.server import running_server
from tests.e2e.conftest import config
from tests.faults.fake_models import TinyModels
from tests.faults.unharmed import unharmed

DAY = 86_400


@pytest.mark.parametrize("jump", [DAY, -DAY, -100 * 365 * DAY])
async def test_a_clock_that_jumps(tmp_path: Path, jump: float) -> None:
    for name in ("tiny", "other"):
        make_model_folder(tmp_path / "models" / name)
    wall = FakeClock(1_800_000_000.0)
    settings = config(tmp_path, cache=Cache(safety_margin_gb=0.1, keep_alive="10m"))
    modules = [TinyModels(tmp_path / "models")]
    async with (
        running_server(settings, modules=modules, backend=FakeBackend(), wall=wall) as server,
        unharmed(server),
        httpx.AsyncClient(base_url=server.url, timeout=30) as http,
    ):
        for model in ("tiny", "other"):
            body = {"model": model, "input": "w1"}
            assert (await http.post("/embeddings", json=body)).status_code == 200
        preload = await http.post("/embeddings/preload", json={"models": ["tiny"]})
        wall.now += jump
        server.runtime.cache.poke()
        for model in ("tiny", "other"):
            body = {"model": model, "input": "w1"}
            assert (await http.post("/embeddings", json=body)).status_code == 200
            days = (await http.get(f"/embeddings/counter/{model}")).json()
            assert sum(days.values()) >= 2
        for path in ("/ready", "/tasks", "/embeddings/cache/status", "/models", "/info"):
            assert (await http.get(path)).status_code == 200, path
        assert (await http.get(preload.headers["location"])).status_code == 200
        assert not [event for event in server.events if isinstance(event, ModelEvicted)]
