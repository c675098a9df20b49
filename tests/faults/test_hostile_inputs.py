"""T13 to T22: well-formed requests for what there is not, and for what only just is."""

import base64
import json
from typing import Any

import numpy as np
import pytest

from tests.faults import envelope
from tests.faults.rawhttp import post
from tests.faults.target import HIDDEN, MAX_TOKENS, NAN, VOCABULARY, Target

PATHS = pytest.mark.parametrize("path", ["/embeddings", "/v1/embeddings"])
MARK = "\u0301"  # an accent that combines with the letter before it


def invalid(target: Target, path: str, param: str, **fields: Any) -> str:
    """The message of a request that must be refused because of `param`."""
    answer = target.post(path, {"model": "tiny", "input": "w1"} | fields)
    message = envelope.check(answer, "VALIDATION_ERROR", path)
    assert answer.json["error"]["param"] == param, answer.json
    return message


@PATHS
@pytest.mark.parametrize(
    "given",
    [None, 5, 5.5, {}, {"a": "w1"}, True, [None], [[]], [["a"]], [], ["w1", 5], [5, "w1"], ["w1", ["w1"]],
     [[5], "w1"], [{}], [True], [[True]], [[5], []], [[[5]]]],
    ids=json.dumps,
)  # fmt: skip
def test_t13_inputs_of_another_form(target: Target, path: str, given: Any) -> None:
    invalid(target, path, "input", input=given)


@PATHS
def test_t13_no_input(target: Target, path: str) -> None:
    answer = target.post(path, {"model": "tiny"})
    assert envelope.check(answer, "VALIDATION_ERROR", path) == "Field required: input"
    assert answer.json["error"]["param"] == "input"


@PATHS
def test_t14_an_empty_text_is_a_text_and_an_empty_list_is_none(target: Target, path: str) -> None:
    invalid(target, path, "input", input=[])
    alone = target.vectors("")
    assert np.isfinite(alone).all()
    assert np.abs(target.vectors(["w1", ""])[1] - alone[0]).max() <= 1e-5


@PATHS
@pytest.mark.parametrize("text", ["a\\ud800b", "\\udfff", "\\ud800", "\\ud83d\\ud83d"])
def test_t15_half_a_surrogate_pair(target: Target, path: str, text: str) -> None:
    body = '{"model":"tiny","input":["w1","' + text + '"]}'
    envelope.check(post(target.port, path, body.encode()), "BAD_REQUEST", path)


@pytest.mark.parametrize(
    "text",
    ["\0", "w1\0w2", " \t\r\n", "\u2028\ufeff\ufffe", "e" + MARK * 100_000, "\u202eabc\u202c \u05d0\u05d1",
     "\U0001f469\u200d\U0001f469\u200d\U0001f467", "\U0010ffff", "w1\x1b[2J"],
    ids=ascii,
)  # fmt: skip
def test_t15_odd_texts_have_finite_vectors(target: Target, text: str) -> None:
    rows = target.vectors([text, "w1"])
    assert np.isfinite(rows).all()
    assert np.abs(rows[1] - target.vectors("w1")[0]).max() <= 1e-5


def test_t16_as_many_inputs_as_are_allowed_and_one_more(target: Target) -> None:
    texts = [f"w{i % 200} w{i % 7} " * 40 for i in range(2048)]
    rows = target.vectors(texts)
    assert rows.shape == (2048, HIDDEN)
    assert np.abs(rows[2047] - target.vectors(texts[2047])[0]).max() <= 1e-5
    for path in ("/embeddings", "/v1/embeddings"):
        message = invalid(target, path, "input", input=[*texts, "w1"])
        assert "2,049 items, at most 2,048" in message


@PATHS
@pytest.mark.parametrize(
    "ids",
    [[-1], [VOCABULARY], [2**31 - 1], [2**31], [2**63], [2**64], [1.5], [True], [5, -1], [[5], [VOCABULARY]],
     [None]],
    ids=json.dumps,
)  # fmt: skip
def test_t18_token_ids_that_the_model_does_not_have(target: Target, path: str, ids: Any) -> None:
    invalid(target, path, "input", input=ids)


def test_t18_too_many_token_ids_are_cut_as_a_text_is(target: Target) -> None:
    ids = [5 + i % 200 for i in range(100_000)]
    answer = target.post("/embeddings", {"model": "tiny", "input": ids})
    assert answer.status == 200
    assert answer.headers["x-embedwell-truncated"] == "0"
    assert answer.json["usage"]["prompt_tokens"] == MAX_TOKENS
    assert "truncate is false" in invalid(target, "/embeddings", "input", input=ids, truncate=False)


@PATHS
@pytest.mark.parametrize("dimensions", [0, -1, "8", True, 8.5, HIDDEN + 1, [8], {}])
def test_t19_dimensions_that_cannot_be(target: Target, path: str, dimensions: Any) -> None:
    invalid(target, path, "dimensions", dimensions=dimensions)


@PATHS
@pytest.mark.parametrize("dimensions", [1, 7, HIDDEN, None])
def test_t19_a_vector_is_cut_and_then_of_unit_length(
    target: Target, path: str, dimensions: int | None
) -> None:
    whole = target.vectors("w1 w2")[0][:dimensions]
    answer = target.post(path, {"model": "tiny", "input": "w1 w2", "dimensions": dimensions})
    row = np.array(answer.json["data"][0]["embedding"])
    assert np.abs(row - whole / np.linalg.norm(whole)).max() <= 1e-5
    assert abs(np.linalg.norm(row) - 1) <= 1e-5


@PATHS
def test_t20_base64_has_the_very_bits_of_the_numbers(target: Target, path: str) -> None:
    given = {"model": "tiny", "input": ["w1", "w2 w3", ""]}
    numbers = target.post(path, given | {"encoding_format": "float"}).json["data"]
    coded = target.post(path, given | {"encoding_format": "base64"}).json["data"]
    for row, other in zip(numbers, coded, strict=True):
        bits = np.array(row["embedding"], "<f4").tobytes()
        assert base64.b64decode(other["embedding"], validate=True) == bits
    for wrong in ("hex", "BASE64", "", 5, ["float"]):
        invalid(target, path, "encoding_format", encoding_format=wrong)


@PATHS
@pytest.mark.parametrize("form", ["float", "base64"])
def test_t21_a_text_without_a_finite_vector_is_the_models_error(
    target: Target, path: str, form: str
) -> None:
    for given in ("w66", ["w1", "w66"], [5 + 66]):
        body = {"model": NAN, "input": given, "encoding_format": form}
        message = envelope.check(target.post(path, body), "MODEL_ERROR", path)
        assert message.startswith("The model gave values that are not finite")
    assert np.isfinite(target.vectors(["w1", "w67"], NAN)).all()


@PATHS
@pytest.mark.parametrize("model", ["", 5, None, "x" * 10_000, "a/b/c", "../tiny", "tiny ", "ti\0ny", "\u202e"])
def test_t22_models_that_are_no_tag(target: Target, path: str, model: Any) -> None:
    message = invalid(target, path, "model", model=model)
    assert len(message) < 500
    assert "x" * 201 not in message


@PATHS
@pytest.mark.parametrize("model", ["unknown", "owner/unknown", "huggingface:owner/unknown", "Tiny"])
def test_t22_models_that_nobody_has(target: Target, path: str, model: str) -> None:
    answer = target.post(path, {"model": model, "input": "w1"})
    assert envelope.check(answer, "NOT_FOUND", path).startswith(f"Model not found: {model}")
    assert answer.json["error"]["code"] == "model_not_found"


@PATHS
def test_t22_no_model(target: Target, path: str) -> None:
    answer = target.post(path, {"input": "w1"})
    assert envelope.check(answer, "VALIDATION_ERROR", path) == "Field required: model"
