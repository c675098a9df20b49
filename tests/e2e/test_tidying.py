"""A server hands back what its batches left in memory."""

import asyncio
import threading
from functools import partial

import httpx
import pytest

from embedwell import assembly
from embedwell.testing import FakeBackend
from embedwell.tidying import Tidying
from tests.e2e.conftest import Start


class Forgetting(FakeBackend):
    """Tells when it was asked to forget."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = threading.Event()

    def forget(self) -> None:
        self.asked.set()


async def test_memory_goes_back_after_a_request(
    tiny: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assembly, "Tidying", partial(Tidying, pause=0))
    backend = Forgetting()
    async with tiny(backend) as server, httpx.AsyncClient(base_url=server.url) as http:
        assert not backend.asked.is_set()
        answer = await http.post("/embeddings", json={"model": "tiny", "input": "w1"})
        assert answer.status_code == 200
        assert await asyncio.to_thread(backend.asked.wait, 30)
