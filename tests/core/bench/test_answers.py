"""What a right answer is, and what is said of a wrong one."""

import json
from typing import Any

import pytest

from embedwell.bench.answers import Facts, WrongAnswer, check, reason, tokens
from tests.core.bench.loopback import ROW, embeddings

TWO = {"input": ["a", "b"], "model": "m", "encoding_format": "float"}
BASE64 = TWO | {"encoding_format": "base64"}


def rows(*given: tuple[int, Any]) -> bytes:
    data = [{"index": index, "embedding": row} for index, row in given]
    return json.dumps({"data": data}).encode()


def test_right_answers_show_their_dimensions_and_encoding() -> None:
    assert check(embeddings(TWO), 2) == Facts(4, "float")
    assert check(embeddings(BASE64), 2, 4) == Facts(4, "base64")


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        (b"<html>", "not the JSON of embeddings"),
        (b"[" * 100_000, "not the JSON of embeddings"),
        (b'{"data": [{"index": 0, "embedding": [NaN]}]}', "not the JSON of embeddings"),
        (rows((0, ROW)), "1 rows for 2 texts, or not in their order"),
        (rows((1, ROW), (0, ROW)), "2 rows for 2 texts, or not in their order"),
        (rows((0, ROW), (1, (1.0,))), "a vector of 1 dimensions"),
        (rows((0, ROW), (1, ())), "a vector of 0 dimensions"),
        (rows((0, ROW), (1, "AAA*")), "base64 that is no float32"),
        (rows((0, ROW), (1, "AAAA")), "base64 that is no float32"),
        (embeddings(BASE64, (0.0, float("nan"), 0.0, 0.0)), "a vector that is not finite"),
        (embeddings(BASE64, (0.0, float("inf"), 0.0, 0.0)), "a vector that is not finite"),
        (rows((0, ROW), (1, (0, 0, 0, 0))), "a vector of zeros"),
    ],
)  # fmt: skip
def test_wrong_answers_are_named(body: bytes, wrong: str) -> None:
    with pytest.raises(WrongAnswer, match=wrong):
        check(body, 2)


def test_other_dimensions_than_before_are_wrong() -> None:
    with pytest.raises(WrongAnswer, match="a vector of 4 dimensions"):
        check(embeddings(TWO), 2, 384)


def test_tokens_wherever_the_usage_stands() -> None:
    assert tokens(embeddings(TWO)) == 14
    assert tokens(b'{"usage":{"prompt_tokens" : 5},"data":[]}') == 5
    assert tokens(embeddings(TWO, usage=False)) == 0
    assert tokens(b'"prompt_tokens": null') == 0


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"error": {"message": "No such\\u001b model"}}', "No such  model"),
        (b'{"error": "overloaded"}', "overloaded"),
        (b'{"detail": "Not found"}', "Not found"),
        (b'{"message": "top", "detail": 5}', "top"),
        (b'{"detail": [{"loc": 1}]}', '{"detail": [{"loc": 1}]}'),
        (b"Bad\ngateway" + b"x" * 900, "Bad gateway" + "x" * 189),
        (b"\n<!doctype html><h1>Bad gateway</h1>", ""),
        (b"", ""),
    ],
)
def test_the_reason_of_a_refusal(body: bytes, said: str) -> None:
    assert reason(body) == said
