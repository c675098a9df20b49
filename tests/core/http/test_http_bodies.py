"""Bodies: framing, types, limits, and JSON of every kind of badness."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from embedwell.app import App
from embedwell.config.schema import Server
from embedwell.interfaces.routes import Reply, Request
from tests.core.http.fake_core import TAG, app_of, route
from tests.core.http.http_driver import Connection, ask, post, scope_of

JSON = {"content-type": "application/json"}
GOOD = json.dumps({"model": TAG, "input": "a"}).encode()


@pytest.fixture(scope="module")
def app() -> App:
    return app_of()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "The body is empty: a JSON object is expected"),
        (b" \n", "The body is empty: a JSON object is expected"),
        (b"{", "The body's JSON is cut off"),
        (b"\xef\xbb\xbf" + GOOD, "JSON is malformed"),
        (GOOD + b"x", "JSON is malformed: trailing characters"),
        (b'{"model":"m","input":NaN}', "JSON is malformed"),
        (b'{"model":"m","input":"\xff"}', "The body is not valid UTF-8"),
        (b'{"model":"m","input":"a","u":"\xff"}', "The body is not valid UTF-8"),
        (GOOD.decode().encode("utf-16"), "The body is not valid UTF-8"),
        (b'{"model":"m","input":"\\ud800"}', "lacks its other half"),
        (b'{"model":"m","input":"\\udc00abcdef"}', "surrogate"),
        (b'{"u":' + b"[" * 100_000, "nested too deeply"),
        (b'{"u":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
    ],
)
async def test_what_is_not_json_is_a_bad_request(app: App, body: bytes, message: str) -> None:
    answer = await post(app, "/embeddings", body)
    assert (answer.status, answer.code) == (400, "BAD_REQUEST")
    assert message in answer.detail


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"[]", "The body is not what this route takes: expected object, got array"),
        (b"[" * 100_000, "expected object, got array"),
        (b"7", "expected object, got int"),
        (b'{"model":"m","input":"a","dimensions":1e400}', "dimensions: Number out of range"),
        (b'{"model":"m","input":[1e400]}', "input[0]: Number out of range"),
        (
            b'{"model":"m","input":"a","dimensions":' + b"9" * 5000 + b"}",
            "dimensions: Integer value out of range",
        ),
    ],
)
async def test_json_of_another_shape_is_a_validation_error(
    app: App, body: bytes, message: str
) -> None:
    answer = await post(app, "/embeddings", body)
    assert (answer.status, answer.code) == (422, "VALIDATION_ERROR")
    assert message in answer.detail
    assert (await post(app, "/v1/embeddings", body)).status == 400


async def test_no_message_repeats_more_than_200_characters(app: App) -> None:
    told = await post(
        app, "/embeddings", {"model": TAG, "input": "a", "encoding_format": "x" * 5000}
    )
    assert told.status == 422
    assert len(told.detail) < 300
    assert told.detail.endswith("xxx...; it takes float, base64")
    assert len((await ask(app, "GET", "/" + "y" * 5000)).detail) < 300
    assert len((await post(app, "/embeddings", GOOD, content_type="t" * 5000)).detail) < 300


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/json", 200),
        ("Application/JSON; charset=UTF-8", 200),
        ('application/json;charset="utf-8"', 200),
        ("application/json; charset=latin-1", 415),
        ("text/plain", 415),
        ("application/json-patch+json", 415),
        ("application/x-www-form-urlencoded", 415),
        ("", 415),
    ],
)
async def test_only_json_in_utf_8_is_taken(app: App, kind: str, status: int) -> None:
    answer = await post(app, "/embeddings", GOOD, content_type=kind)
    assert answer.status == status
    assert status == 200 or answer.code == "UNSUPPORTED_MEDIA_TYPE"


async def test_a_request_without_a_content_type_is_told_so(app: App) -> None:
    answer = await ask(app, "POST", "/embeddings", body=GOOD)
    assert answer.detail.endswith("must be application/json, and the request names none")


@pytest.mark.parametrize(("encoding", "status"), [("identity", 200), ("gzip", 415)])
async def test_compressed_bodies_are_refused(app: App, encoding: str, status: int) -> None:
    answer = await post(app, "/embeddings", GOOD, content_encoding=encoding)
    assert answer.status == status


async def test_a_declared_length_over_the_limit_is_refused_unread() -> None:
    app = app_of(server=Server(max_body_mb=0.001))
    headers = [*JSON.items(), ("content-length", "1001")]
    connection = Connection(app, scope_of("POST", "/embeddings", headers))
    answer = await connection.answer()
    assert (answer.status, answer.code) == (413, "PAYLOAD_TOO_LARGE")
    assert answer.detail == "The body is larger than 1,000 bytes (server.max_body_mb)"
    assert connection.received == 0


async def test_chunks_are_counted() -> None:
    app = app_of(server=Server(max_body_mb=0.001))
    answer = await ask(app, "POST", "/embeddings", chunks=[b" " * 600] * 2, headers=JSON)
    assert (answer.status, answer.detail[-21:]) == (413, " (server.max_body_mb)")
    answer = await ask(app, "POST", "/embeddings", chunks=[GOOD[:9], b"", GOOD[9:]], headers=JSON)
    assert answer.status == 200


async def test_a_body_that_stalls_is_timed_out() -> None:
    app = app_of(server=Server(body_timeout=0.01))
    headers = [*JSON.items(), ("content-length", "20")]
    connection = Connection(app, scope_of("POST", "/embeddings", headers))
    connection.send(b"{", more=True)
    answer = await connection.answer()
    assert (answer.status, answer.code) == (408, "TIMEOUT")
    assert answer.detail == "The body did not arrive within 0.01 seconds"
    assert answer.json["error"]["code"] == "request_timeout"


async def take(request: Request) -> Reply:
    sizes = [len(piece) async for piece in request.body]
    return Reply(body=sizes, status=201)


async def test_a_streaming_route_reads_what_it_wants() -> None:
    app = app_of(route(take, "POST", stream=True, max_body=10))
    answer = await ask(app, "POST", "/test", chunks=[b"abc", b"", b"defg"])
    assert (answer.status, answer.json) == (201, [3, 4])
    assert (await ask(app, "POST", "/test", chunks=[b"x" * 6] * 2)).status == 413
    assert (await ask(app, "POST", "/test", body=b"x" * 11)).status == 413


async def test_a_stream_is_pulled_not_pushed() -> None:
    async def refuse(request: Request) -> Reply:
        async for _ in request.body:
            break
        await asyncio.sleep(0)
        return Reply(body=connection.received)

    app = app_of(route(refuse, "POST", stream=True))
    connection = Connection(app, scope_of("POST", "/test", [("transfer-encoding", "chunked")]))
    for _ in range(50):
        connection.send(b"x", more=True)
    assert (await connection.answer()).json == 1


async def test_a_stream_that_stalls_is_timed_out() -> None:
    app = app_of(route(take, "POST", stream=True), server=Server(body_timeout=0.01))
    connection = Connection(app, scope_of("POST", "/test", [("transfer-encoding", "chunked")]))
    connection.send(b"x", more=True)
    answer = await connection.answer()
    assert (answer.status, answer.detail) == (408, "Nothing arrived for 0.01 seconds")


JSON_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
FIELDS = ("model", "input", "encoding_format", "dimensions", "user", "truncate", "normalize")
OBJECTS = st.dictionaries(st.sampled_from(FIELDS) | st.text(), JSON_VALUES)
REFUSED = {
    (400, "BAD_REQUEST"),
    (400, "VALIDATION_ERROR"),
    (422, "VALIDATION_ERROR"),
    (404, "NOT_FOUND"),
}
FUZZ = settings(max_examples=150, suppress_health_check=list(HealthCheck))


@FUZZ
@given(OBJECTS | JSON_VALUES)
async def test_no_json_whatever_is_a_server_error(app: App, value: Any) -> None:
    for path in ("/embeddings", "/v1/embeddings"):
        answer = await post(app, path, value)
        assert answer.status == 200 or (answer.status, answer.code) in REFUSED


@FUZZ
@given(st.binary() | st.text('{}[]":,\\udm0123.e-', max_size=60).map(str.encode))
async def test_no_bytes_whatever_are_a_server_error(app: App, body: bytes) -> None:
    answer = await post(app, "/embeddings", body)
    assert answer.status in {400, 422}
    assert answer.code in {"BAD_REQUEST", "VALIDATION_ERROR"}
