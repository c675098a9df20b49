"""Real clients, each in an environment of its own, against real servers: `make test-clients`."""

import asyncio
import importlib.metadata
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import pytest_asyncio

from tests.e2e.clients.catalogue import CLIENTS, Client
from tests.e2e.clients.driver import Driver, driven, openais_ids
from tests.e2e.clients.servers import WAIT, Busy, real, requests, until_ended
from tests.e2e.minilm import MINILM, Vectors

pytestmark = pytest.mark.asyncio(loop_scope="module")
FIVE = ["The lift of a wing.", "Heat\nin a thin plate", "ça va? 数学", "a", "The lift of a wing"]
NO_ANSWER = 499  # as the log has it: the client had left
KEY = "a-key-for-tests-0123456789abcdefghijklmnopqrstuvwxyz"


def parameter(client: Client) -> Any:
    marks = [pytest.mark.network] if client.home else []
    return pytest.param(client, id=client.name, marks=marks)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def url(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    async with real(tmp_path_factory.mktemp("server")) as address:
        yield address


@pytest_asyncio.fixture(
    scope="module", loop_scope="module", params=[parameter(client) for client in CLIENTS]
)
async def client(request: pytest.FixtureRequest) -> AsyncIterator[Driver]:
    if not request.param.installed:
        pytest.skip("not installed; make test-clients installs it")
    async with driven(request.param) as driver:
        yield driver


async def answered(
    url: str, texts: Sequence[str], model: str = MINILM, **options: Any
) -> dict[str, Any]:
    """What the server says without any client."""
    async with httpx.AsyncClient(base_url=url, timeout=120) as http:
        body = {"model": model, "input": texts, **options}
        told: dict[str, Any] = (await http.post("/v1/embeddings", json=body)).json()
    return told


async def plain(url: str, texts: Sequence[str], model: str = MINILM, **options: Any) -> Vectors:
    rows = (await answered(url, texts, model, **options))["data"]
    return np.array([row["embedding"] for row in rows], np.float32)


def same(got: Vectors, want: Vectors) -> bool:
    """Row for row, by cosine and by length."""
    lengths = np.linalg.norm(got, axis=1), np.linalg.norm(want, axis=1)
    cosines = np.sum(got * want, axis=1) / (lengths[0] * lengths[1])
    return bool(cosines.min() >= 0.99999 and np.abs(lengths[0] - lengths[1]).max() < 1e-4)


async def test_one_text(client: Driver, url: str) -> None:
    for model in (MINILM, "tiny"):
        got = await client.vectors(url, model=model, input=FIVE[0])
        assert same(got, await plain(url, FIVE[:1], model))


async def test_a_list_keeps_its_order_and_says_what_it_took(client: Driver, url: str) -> None:
    told = await client(url, model=MINILM, input=FIVE)
    assert same(np.array(told["vectors"], np.float32), await plain(url, FIVE))
    used = (await answered(url, FIVE))["usage"]["total_tokens"]
    assert told.get("tokens", used) == used


async def test_five_hundred_texts(client: Driver, url: str) -> None:
    texts = [f"text {number}" for number in range(500)]
    assert same(await client.vectors(url, model=MINILM, input=texts), await plain(url, texts))


async def test_dimensions(client: Driver, url: str) -> None:
    got = await client.vectors(url, model=MINILM, input=FIVE, dimensions=32)
    assert same(got, await plain(url, FIVE, dimensions=32))
    told = await client(url, model=MINILM, input=FIVE, dimensions=385)
    assert "384" in told["error"]["message"]


@pytest.mark.parametrize("form", ["float", "base64"])
async def test_formats(client: Driver, url: str, form: str) -> None:
    if "encoding_format" in client.client.lacks:
        pytest.skip("it has no choice of format")
    got = await client.vectors(url, model=MINILM, input=FIVE, encoding_format=form)
    assert same(got, await plain(url, FIVE))


async def test_an_empty_text(client: Driver, url: str) -> None:
    got = await client.vectors(url, model=MINILM, input=["", "a"])
    assert same(got, await plain(url, ["", "a"]))


async def test_an_unknown_model(client: Driver, url: str) -> None:
    error = (await client(url, model="nonexistent-model", input="x"))["error"]
    assert "Model not found: nonexistent-model" in error["message"]
    assert error["class"].removeprefix("AI_") in ("NotFoundError", "APICallError"), error
    assert error["status"] in (404, None)


async def test_more_inputs_than_a_request_may_have(client: Driver, url: str) -> None:
    texts = [f"text {number}" for number in range(2049)]
    told = await client(url, model="tiny", input=texts, timeout=110)
    if client.client.splits:
        assert same(
            np.array(told["vectors"], np.float32)[-5:], await plain(url, texts[-5:], "tiny")
        )
    else:
        assert "2,049 items, at most 2,048 are allowed" in told["error"]["message"]
        assert told["error"]["class"] == "BadRequestError"


async def test_the_models_are_listed(client: Driver, url: str) -> None:
    if "models" in client.client.lacks:
        pytest.skip("it lists no models")
    assert set((await client(url, call="models"))["models"]) == {MINILM, "tiny"}


async def test_a_full_queue_is_waited_for(client: Driver, tmp_path: Path) -> None:
    busy = Busy()
    async with (
        busy.running(tmp_path) as server,
        httpx.AsyncClient(base_url=server.url, timeout=120) as http,
    ):
        body = {"model": "some", "input": "w66 w1 w2 w3 w4 w5"}
        holding = asyncio.create_task(http.post("/embeddings", json=body))
        while not server.runtime.batcher.queued_tokens:
            await asyncio.sleep(0.01)
        asking = asyncio.create_task(client(server.url, model="some", input="w1 w2", retries=3))
        await until_ended(server, 429)
        busy.go.set()
        assert (await holding).status_code == 200
        assert "vectors" in await asking
        assert [event.status for event in requests(server)] == [429, 200]


async def test_a_model_on_its_way_is_asked_for_when_the_server_says(
    client: Driver, tmp_path: Path
) -> None:
    async with Busy().running(tmp_path) as server:
        assert "vectors" in await client(server.url, model="cold", input="w1", retries=3)
        first, *_, last = requests(server)
        assert (first.status, last.status) == (503, 200)
        if client.client.waits:
            assert len(requests(server)) == 2
            assert last.at - last.seconds - first.at >= WAIT * 0.99


async def test_what_waiting_cannot_mend_is_not_asked_again(client: Driver, tmp_path: Path) -> None:
    busy = Busy()
    busy.backend.memory.total = 100_000_000
    async with busy.running(tmp_path) as server:
        error = (await client(server.url, model="some", input="w1", retries=2))["error"]
        assert "Model loading failed: " in error["message"]
        if client.client.gives_up:
            assert [event.status for event in requests(server)] == [503]


async def test_a_client_that_gives_up_takes_its_work_along(client: Driver, tmp_path: Path) -> None:
    async with Busy().running(tmp_path) as server:
        told = await client(server.url, model="some", input="w66", timeout=1)
        assert "error" in told, told
        await until_ended(server, NO_ANSWER)
        assert server.runtime.batcher.queued_tokens == 0


async def test_openais_token_ids_are_refused_in_so_many_words(client: Driver, url: str) -> None:
    if client.client.name != "langchain":
        pytest.skip("it sends texts")
    if openais_ids() is None:
        pytest.skip("no package that is installed has OpenAI's tokeniser file")
    told = await client(url, model=MINILM, input=["Überlingen, Zürich"], tokenise=True)
    assert told["error"]["class"] == "BadRequestError"
    assert "vocabulary" in told["error"]["message"]


def guarded() -> bool:
    """Whether the plugin that asks for keys is installed."""
    found = importlib.metadata.entry_points(group="embedwell")
    return "embedwell-plugin-auth" in [point.dist.name for point in found if point.dist]


async def test_a_wrong_key_is_told_and_the_right_one_taken(
    client: Driver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not guarded():
        pytest.skip("plugins/auth is not installed")
    monkeypatch.setenv("EMBEDWELL_TEST_KEY", KEY)
    keys = {"auth": {"keys": {"tests": {"key": {"env": "EMBEDWELL_TEST_KEY"}}}}}
    async with Busy().running(tmp_path, plugins=keys) as server:
        error = (await client(server.url, model="some", input="w1", key="wrong"))["error"]
        assert error["class"].removeprefix("AI_") in ("AuthenticationError", "APICallError"), error
        assert "key" in error["message"]
        assert "vectors" in await client(server.url, model="some", input="w1", key=KEY)
