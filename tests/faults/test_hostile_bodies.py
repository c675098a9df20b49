"""T01 to T07 and T12: bodies that are no JSON, JSON that is no request, on both paths."""

import gzip
import json

import pytest

from tests.faults import envelope
from tests.faults.rawhttp import JSON, ask, post
from tests.faults.target import Target

PATHS = pytest.mark.parametrize("path", ["/embeddings", "/v1/embeddings"])
GOOD = json.dumps({"model": "tiny", "input": "w1"}).encode()
DEEP = 100_000


def with_dimensions(number: str) -> bytes:
    return b'{"model":"tiny","input":"w1","dimensions":' + number.encode() + b"}"


def refused(target: Target, path: str, body: bytes, code: str) -> str:
    return envelope.check(post(target.port, path, body), code, path)


@PATHS
@pytest.mark.parametrize(
    "body", [b'{"input":"\xff\xfe"}', GOOD.decode().encode("utf-16"), b"\xff" * 100, GOOD + b"\xc3"]
)
def test_t01_bodies_that_are_not_utf_8(target: Target, path: str, body: bytes) -> None:
    assert refused(target, path, body, "BAD_REQUEST") == "The body is not valid UTF-8"


@PATHS
@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"[" * DEEP, "VALIDATION_ERROR"),  # a list at the top is told before its depth
        (b"[" * DEEP + b"]" * DEEP, "VALIDATION_ERROR"),
        (b'{"input":' + b"[" * DEEP, "VALIDATION_ERROR"),
        (b'{"u":' + b"[" * DEEP, "BAD_REQUEST"),
        (b'{"u":' + b"[" * DEEP + b"]" * DEEP + b"}", "BAD_REQUEST"),
        (b'{"u":' * DEEP, "BAD_REQUEST"),
    ],
)
def test_t02_json_that_is_deep(target: Target, path: str, body: bytes, code: str) -> None:
    refused(target, path, body, code)


@PATHS
@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "BAD_REQUEST"),
        (b"{", "BAD_REQUEST"),
        (b"nonsense", "BAD_REQUEST"),
        (b"null", "VALIDATION_ERROR"),
        (b"[]", "VALIDATION_ERROR"),
        (b'"x"', "VALIDATION_ERROR"),
        (b"{}", "VALIDATION_ERROR"),
    ],
)
def test_t03_bodies_that_are_no_object(target: Target, path: str, body: bytes, code: str) -> None:
    refused(target, path, body, code)


@PATHS
@pytest.mark.parametrize(
    ("number", "code"),
    [("NaN", "BAD_REQUEST"), ("Infinity", "BAD_REQUEST"), ("-Infinity", "BAD_REQUEST"),
     ("1e400", "VALIDATION_ERROR"), ("-1e400", "VALIDATION_ERROR")],
)  # fmt: skip
def test_t04_numbers_that_are_none(target: Target, path: str, number: str, code: str) -> None:
    refused(target, path, with_dimensions(number), code)


@PATHS
@pytest.mark.parametrize("number", ["9" * 5000, "-" + "9" * 5000, str(2**31), str(2**63), str(2**64)])
def test_t05_numbers_that_are_too_large(target: Target, path: str, number: str) -> None:
    answer = post(target.port, path, with_dimensions(number))
    envelope.check(answer, "VALIDATION_ERROR", path)
    assert answer.json["error"]["param"] == "dimensions"


@PATHS
@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "br", "identity, gzip"])
@pytest.mark.parametrize("body", [gzip.compress(GOOD), b"garbage"])
def test_t06_compressed_bodies(target: Target, path: str, body: bytes, encoding: str) -> None:
    answer = post(target.port, path, body, ("Content-Encoding", encoding))
    envelope.check(answer, "UNSUPPORTED_MEDIA_TYPE", path)


@PATHS
@pytest.mark.parametrize(
    "kind",
    ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-16", "", None],
)
def test_t07_types_that_are_not_json(target: Target, path: str, kind: str | None) -> None:
    headers = () if kind is None else (("Content-Type", kind),)
    answer = ask(target.port, "POST", path, GOOD, headers)
    envelope.check(answer, "UNSUPPORTED_MEDIA_TYPE", path)


def test_t07_two_types(target: Target) -> None:
    answer = ask(target.port, "POST", "/embeddings", GOOD, (*JSON, ("Content-Type", "text/plain")))
    envelope.check(answer, "UNSUPPORTED_MEDIA_TYPE")


@PATHS
def test_t12_of_a_key_given_twice_the_last_counts(target: Target, path: str) -> None:
    body = b'{"model":"tiny","input":"w9","model":"owner/other","input":"w1","more":{"a":[1]}}'
    for _ in range(3):
        answer = post(target.port, path, body)
        assert (answer.status, answer.json["model"]) == (200, "owner/other")
        (row,) = answer.json["data"]
        assert row["embedding"] == pytest.approx(target.vectors("w1", "owner/other")[0], abs=1e-5)
