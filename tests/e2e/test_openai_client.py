"""The official client against a real server."""

from collections.abc import AsyncIterator

import openai
import pytest
import pytest_asyncio

from embedwell.testing.server import RunningServer
from tests.e2e.conftest import MINILM

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def client(server: RunningServer) -> AsyncIterator[openai.AsyncOpenAI]:
    made = openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="unused", max_retries=0)
    yield made
    await made.close()


async def test_base64_is_its_default_and_equals_floats(client: openai.AsyncOpenAI) -> None:
    default = await client.embeddings.create(model=MINILM, input=["a text", "another"])
    floats = await client.embeddings.create(
        model=MINILM, input=["a text", "another"], encoding_format="float"
    )
    assert [row.index for row in default.data] == [0, 1]
    for one, other in zip(default.data, floats.data, strict=True):
        assert one.embedding == pytest.approx(other.embedding, abs=1e-7)
        assert len(one.embedding) == 384
    assert default.usage.prompt_tokens == default.usage.total_tokens == 7


async def test_dimensions_and_token_arrays(client: openai.AsyncOpenAI) -> None:
    cut = await client.embeddings.create(model=MINILM, input="hello world", dimensions=32)
    assert len(cut.data[0].embedding) == 32
    text = await client.embeddings.create(model=MINILM, input="hello world")
    ids = [101, 7592, 2088, 102]
    one = await client.embeddings.create(model=MINILM, input=ids)
    two = await client.embeddings.create(model=MINILM, input=[ids, ids])
    for row in (*one.data, *two.data):
        assert row.embedding == pytest.approx(text.data[0].embedding, abs=1e-5)


async def test_an_unknown_model(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        await client.embeddings.create(model="nonexistent-model", input="x")
    assert caught.value.code == "model_not_found"
    assert "Model not found: nonexistent-model" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"input": []}, "input"),
        ({"input": ["ok", 5]}, "input"),
        ({"input": [10**8]}, "input"),
        ({"dimensions": 0}, "dimensions"),
        ({"dimensions": 1000}, "dimensions"),
        ({"encoding_format": "hex"}, "encoding_format"),
    ],
)
async def test_a_wrong_field(
    client: openai.AsyncOpenAI, change: dict[str, object], field: str
) -> None:
    body = {"model": MINILM, "input": "x"} | change
    with pytest.raises(openai.BadRequestError) as caught:
        await client.post("/embeddings", cast_to=object, body=body)
    assert caught.value.param == field
    assert field in str(caught.value)


async def test_models_are_listed(client: openai.AsyncOpenAI) -> None:
    assert MINILM in [model.id async for model in client.models.list()]
    one = await client.models.retrieve(MINILM)
    assert one.object == "model"


async def test_what_was_cut_and_the_requests_id_are_at_hand(client: openai.AsyncOpenAI) -> None:
    raw = await client.embeddings.with_raw_response.create(
        model=MINILM, input=["short", "word " * 600], extra_headers={"x-request-id": "mine-1"}
    )
    assert raw.headers["x-embedwell-truncated"] == "1"
    answer = raw.parse()
    assert answer._request_id == "mine-1"
    assert answer.usage.total_tokens == 3 + 256


async def test_the_servers_own_options_go_into_the_body(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await client.embeddings.create(
            model=MINILM, input="word " * 600, extra_body={"truncate": False}
        )
    assert caught.value.param == "input"
