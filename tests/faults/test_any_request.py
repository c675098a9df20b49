"""Whatever request: an answer that is declared, an envelope where it refuses, and never a hang."""

import json
import math
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from embedwell.app import App
from tests.core.http.fake_core import app_of
from tests.core.http.http_driver import ask
from tests.faults import envelope
from tests.faults.fuzz import CORPUS, look, mutations
from tests.faults.rawhttp import post
from tests.faults.target import HIDDEN, MODELS, NAN, VOCABULARY, Target

QUIET = settings(suppress_health_check=list(HealthCheck), database=None)
REFUSALS = {400, 401, 403, 404, 405, 408, 409, 413, 414, 415, 422, 429, 431}

TEXTS = (
    st.text(max_size=200)
    | st.just("\ud800")
    | st.lists(st.sampled_from(["w1", "w66", "w199"])).map(" ".join)
)
IDS = st.lists(st.integers(-2, VOCABULARY + 1), max_size=100)
INPUTS = TEXTS | IDS | st.lists(TEXTS, max_size=9) | st.lists(IDS, max_size=9)
LITTLE: st.SearchStrategy[Any] = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS
BODIES = st.fixed_dictionaries(
    {"model": st.sampled_from([*MODELS, NAN, "nobody"]) | LITTLE, "input": INPUTS | LITTLE},
    optional={
        "dimensions": st.integers(-1, HIDDEN + 1) | LITTLE,
        "encoding_format": st.sampled_from(["float", "base64"]) | LITTLE,
        "prompt_name": st.just("query") | LITTLE,
        "input_type": st.sampled_from(["query", "document"]) | LITTLE,
        "truncate": st.booleans() | LITTLE,
        "normalize": st.booleans() | LITTLE,
        "user": LITTLE,
    },
)


@settings(QUIET, max_examples=100)
@given(BODIES, st.sampled_from(["/embeddings", "/v1/embeddings"]))
def test_any_body_gets_finite_vectors_or_the_envelope(
    target: Target, body: dict[str, Any], path: str
) -> None:
    answer = post(target.port, path, json.dumps(body).encode("utf-8", "surrogatepass"))
    if answer.status != 200:
        told = envelope.check(answer, set(envelope.CODES), path)
        assert answer.status in REFUSALS or body["model"] == NAN, told
        return
    rows = answer.json["data"]
    count = len(body["input"]) if _is_many(body["input"]) else 1
    assert [row["index"] for row in rows] == list(range(count))
    numbers = [n for row in rows if isinstance(row["embedding"], list) for n in row["embedding"]]
    assert all(map(math.isfinite, numbers))


def _is_many(given: Any) -> bool:
    return isinstance(given, list) and not isinstance(given[0], int)


METHODS = st.sampled_from(
    ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "X"]
)
PLACES = st.sampled_from(
    ["/embeddings", "/v1/embeddings", "/models", "/v1/models/owner%2Fmodel", "/models/upload", "/health",
     "/tasks/1", "/embeddings/preload", "/embeddings/cache/clear", "/openapi.json", "*", "", "//", "/%00", "/é"]
)  # fmt: skip
NAMES = st.sampled_from(
    ["content-type", "content-length", "transfer-encoding", "content-encoding", "x-request-timeout",
     "x-request-id", "host", "origin", "authorization", "expect", "connection", "upgrade", "accept", "cookie"]
)  # fmt: skip
VALUES = st.sampled_from(
    ["application/json", "application/json; charset=latin-1", "multipart/form-data; boundary=", "0", "2", "-1",
     "+2", "1e9", "9" * 30, "chunked", "gzip", "1", "nan", "100-continue", "h2c", "close", "*/*", ""]
) | st.text(st.characters(max_codepoint=255), max_size=60)  # fmt: skip
QUERIES = st.just("") | st.text(st.characters(max_codepoint=255), max_size=30).map("?".__add__)


@pytest.fixture(scope="module")
def app() -> App:
    return app_of()


@settings(QUIET, max_examples=200)
@given(
    METHODS, PLACES, QUERIES, st.lists(st.tuples(NAMES, VALUES), max_size=6), st.binary(max_size=40)
)
@example("POST", "/embeddings", "", [("content-length", "²")], b"")
async def test_any_head_gets_a_declared_answer(
    app: App, method: str, path: str, query: str, headers: list[tuple[str, str]], body: bytes
) -> None:
    answer = await ask(app, method, path + query, body=body, headers=headers)
    assert answer.status in REFUSALS | {200, 202, 204, 404}
    assert answer.headers["x-request-id"]
    if answer.status in REFUSALS and method != "HEAD":
        assert answer.code in envelope.CODES or answer.code in envelope.OTHERS


@settings(QUIET, max_examples=60)
@given(st.integers(0, 2**32))
def test_any_bytes_get_answers_and_an_end(target: Target, seed: int) -> None:
    for sent in mutations(CORPUS, seed, 3):
        look(target.port, sent)


def test_what_is_mutated_is_good_to_begin_with(target: Target) -> None:
    statuses = [look(target.port, sent) for sent in CORPUS]
    began = [[200], [200], [200], [200], [200, 200], [409], [202], [422], [422]]
    assert statuses == [*began, [404], [200]]
