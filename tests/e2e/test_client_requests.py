"""Requests as clients send them that are too large to install, and what they read of the answer."""

import base64
from collections.abc import AsyncIterator
from typing import Any

import httpx
import numpy as np
import pytest
import pytest_asyncio

from embedwell.testing.server import RunningServer
from tests.e2e.conftest import MINILM

pytestmark = pytest.mark.asyncio(loop_scope="module")
TEXTS = ["first", "second", "a third text"]
JSON = {"content-type": "application/json", "authorization": "Bearer unused"}


@pytest_asyncio.fixture(loop_scope="module")
async def client(server: RunningServer) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"{server.url}/v1", timeout=60) as made:
        yield made


async def ask(client: httpx.AsyncClient, body: dict[str, Any], **headers: str) -> Any:
    answer = await client.post("/embeddings", json={"model": MINILM} | body, headers=JSON | headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_dify_pings_and_reads_model_and_usage(client: httpx.AsyncClient) -> None:
    told = await ask(client, {"input": "ping"})
    assert (told["model"], told["usage"]["total_tokens"]) == (MINILM, 3)
    many = await ask(client, {"input": TEXTS, "encoding_format": "float"})
    assert many["usage"]["total_tokens"] == many["usage"]["prompt_tokens"] > 3


async def test_open_webui_names_no_format_and_wants_numbers(client: httpx.AsyncClient) -> None:
    told = await ask(client, {"input": TEXTS}, **{"x-openwebui-user-name": "a%20user"})
    rows = [row["embedding"] for row in told["data"]]
    assert [type(number) for row in rows for number in row] == [float] * 384 * 3


async def test_mteb_matches_by_index(client: httpx.AsyncClient) -> None:
    told = await ask(client, {"input": TEXTS, "encoding_format": "float", "dimensions": 64})
    assert [row["index"] for row in told["data"]] == [0, 1, 2]


@pytest.mark.parametrize("given", [{}, {"encoding_format": None, "dimensions": None, "user": None}])
async def test_null_is_as_good_as_nothing(
    client: httpx.AsyncClient, given: dict[str, None]
) -> None:
    told = await ask(client, {"input": TEXTS} | given)
    assert len(told["data"][0]["embedding"]) == 384


async def test_net_asks_for_base64_and_gets_it(client: httpx.AsyncClient) -> None:
    told = await ask(client, {"input": TEXTS, "encoding_format": "base64"})
    floats = await ask(client, {"input": TEXTS})
    for coded, row in zip(told["data"], floats["data"], strict=True):
        raw = base64.b64decode(coded["embedding"], validate=True)
        assert np.allclose(np.frombuffer(raw, "<f4"), row["embedding"], atol=1e-6)


async def test_fields_of_other_servers_are_ignored(client: httpx.AsyncClient) -> None:
    others = {"task": "retrieval", "late_chunking": False, "priority": 0, "extra_body": {"a": [1]}}
    assert len((await ask(client, {"input": "x"} | others))["data"]) == 1


async def test_azures_query_and_the_headers_of_sdks_do_no_harm(client: httpx.AsyncClient) -> None:
    answer = await client.post(
        "/embeddings/?api-version=2024-10-21",
        json={"model": MINILM, "input": "x"},
        headers=JSON
        | {"api-key": "unused", "openai-organization": "o", "x-stainless-retry-count": "0"},
    )
    assert answer.status_code == 200
    assert answer.headers["x-request-id"]
