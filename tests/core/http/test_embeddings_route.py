"""POST /embeddings: what goes in, what comes out."""

import base64
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedwell.app import App, create_app
from embedwell.http.routes.embeddings import ranges
from tests.core.http.fake_core import TAG, FakeCore
from tests.core.http.http_driver import Answer, post

BOTH = pytest.mark.parametrize("path", ["/embeddings", "/v1/embeddings"])


@pytest.fixture
def core() -> FakeCore:
    return FakeCore()


@pytest.fixture
def app(core: FakeCore) -> App:
    return create_app(core)


async def embed(app: App, path: str = "/embeddings", **fields: Any) -> Answer:
    return await post(app, path, {"model": TAG, **fields})


@BOTH
async def test_a_text_becomes_the_response_of_the_contract(app: App, path: str) -> None:
    answer = await embed(app, path, input="Text to embed")
    assert answer.status == 200
    assert answer.json == {
        "object": "list",
        "data": [{"object": "embedding", "embedding": [0.0, 0.5], "index": 0}],
        "model": TAG,
        "usage": {"prompt_tokens": 3, "total_tokens": 3},
    }
    assert answer.headers["content-type"] == "application/json"
    assert int(answer.headers["content-length"]) == len(answer.body)
    timing = "queue;dur=2.00, tokenize;dur=1.00, inference;dur=3.00, total;dur=6.00"
    assert answer.headers["server-timing"] == timing


@pytest.mark.parametrize(
    ("given_input", "texts"),
    [
        ("", ("",)),
        (["a", "b"], ("a", "b")),
        ([101, 102], ((101, 102),)),
        ([[1], [2, 3]], ((1,), (2, 3))),
        ([0] * 3000, ((0,) * 3000,)),
    ],
)
async def test_every_form_of_input(
    core: FakeCore, app: App, given_input: Any, texts: tuple[Any, ...]
) -> None:
    answer = await embed(app, input=given_input)
    assert answer.status == 200
    assert core.embedder.calls[0].texts == texts
    assert [item["index"] for item in answer.json["data"]] == list(range(len(texts)))


@pytest.mark.parametrize(
    ("fields", "message", "param"),
    [
        ({}, "Field required: input", "input"),
        ({"input": []}, "Invalid value for input: the list is empty", "input"),
        ({"input": [[]]}, "Invalid value for input: a token list is empty", "input"),
        ({"input": [[1], []]}, "Invalid value for input: a token list is empty", "input"),
        ({"input": ["a", 1]}, "not a mixture", "input"),
        ({"input": [1, [1]]}, "not a mixture", "input"),
        ({"input": None}, "Invalid value for input: expected str | array, got null", "input"),
        ({"input": [1.5]}, "input[0]: expected int | str | array, got float", "input"),
        ({"input": [True]}, "input[0]: expected int | str | array, got bool", "input"),
        ({"input": [-1]}, "input[0]: expected int >= 0", "input"),
        ({"input": [[1, 2**31]]}, "input[0][1]: expected int <= 2147483647", "input"),
        (
            {"input": ["x"] * 2049},
            "2,049 items, at most 2,048 are allowed (batching.max_inputs)",
            "input",
        ),
        ({"input": "a", "dimensions": 0}, "dimensions: expected int >= 1", "dimensions"),
        ({"input": "a", "dimensions": 8.0}, "dimensions: expected int | null", "dimensions"),
        ({"input": "a", "dimensions": True}, "dimensions: expected int | null", "dimensions"),
        (
            {"input": "a", "encoding_format": "hex"},
            "'hex'; it takes float, base64",
            "encoding_format",
        ),
        (
            {"input": "a", "encoding_format": 5},
            "got int; it takes float, base64",
            "encoding_format",
        ),
        ({"input": "a", "truncate": "yes"}, "truncate: expected bool | null", "truncate"),
        ({"input": "a", "model": 5}, "Invalid value for model: expected str, got int", "model"),
        ({"input": "a", "model": "not a tag"}, "Invalid value for model: not a tag", "model"),
    ],
)
async def test_wrong_fields_are_named(
    app: App, fields: dict[str, Any], message: str, param: str
) -> None:
    answer = await embed(app, **fields)
    assert (answer.status, answer.code) == (422, "VALIDATION_ERROR")
    assert message in answer.detail
    assert answer.json["error"]["param"] == param
    assert (await embed(app, "/v1/embeddings", **fields)).status == 400


async def test_a_missing_model_is_told_as_the_guide_says(app: App) -> None:
    answer = await post(app, "/embeddings", {"input": "a"})
    assert (answer.status, answer.detail) == (422, "Field required: model")
    assert answer.json["error"] == {
        "message": "Field required: model",
        "type": "invalid_request_error",
        "param": "model",
        "code": "invalid_value",
    }


async def test_an_unknown_model_is_told_as_the_guide_says(app: App) -> None:
    answer = await embed(app, model="nonexistent-model", input="a")
    assert (answer.status, answer.code) == (404, "NOT_FOUND")
    assert answer.detail == "Model not found: nonexistent-model"
    assert answer.json["error"]["code"] == "model_not_found"


async def test_null_is_absent_and_unknown_fields_are_ignored(core: FakeCore, app: App) -> None:
    names = ("encoding_format", "dimensions", "user", "truncate", "prompt_name", "input_type")
    nulls = dict.fromkeys((*names, "normalize"))
    body = {"model": TAG, "input": "a", "unknown": {"x": [1]}, **nulls}
    assert (await post(app, "/embeddings", body)).status == 200
    call = core.embedder.calls[0]
    assert (call.truncate, call.dimensions, call.normalize, call.prompt_name) == (
        True,
        None,
        None,
        None,
    )


async def test_options_reach_the_embedder(core: FakeCore, app: App) -> None:
    options = {
        "dimensions": 2,
        "truncate": False,
        "normalize": False,
        "prompt_name": "p",
        "input_type": "query",
    }
    body = {"model": TAG, "input": "a", **options}
    await post(app, "/embeddings", body, x_request_id="r-1", x_request_timeout="7")
    call = core.embedder.calls[0]
    assert {name: getattr(call, name) for name in options} == options
    assert call.request_id == "r-1"
    assert 6.9 < call.timeout <= 7


async def test_base64_is_little_endian_float32(app: App) -> None:
    answer = await embed(app, input=["a", "b"], encoding_format="base64")
    raw = base64.b64decode(answer.json["data"][1]["embedding"])
    assert np.frombuffer(raw, "<f4").tolist() == [1.0, 0.5]


async def test_truncated_inputs_are_named(core: FakeCore, app: App) -> None:
    core.embedder.truncated = (3, 7, 8, 9)
    answer = await embed(app, input=["a"] * 10)
    assert answer.headers["x-embedwell-truncated"] == "3,7-9"


def test_many_ranges_are_cut_at_a_comma() -> None:
    text = ranges(range(0, 2048, 2))
    assert len(text) <= 1000
    assert text.endswith(",...;count=1024")
    assert ranges(range(2048)) == "0-2047"


@given(st.sets(st.integers(0, 5000), min_size=1))
def test_ranges_name_each_index_once(indices: set[int]) -> None:
    text = ranges(sorted(indices))
    assert len(text) <= 1000
    if "..." not in text:
        bounds = [part.split("-") for part in text.split(",")]
        assert [i for b in bounds for i in range(int(b[0]), int(b[-1]) + 1)] == sorted(indices)
    else:
        assert text.endswith(f"...;count={len(indices)}")
