"""The layers: ids, logs, limits, draining, guards, admission."""

import asyncio
import logging
import re
from typing import Any

import pytest

from embedwell.app import create_app
from embedwell.config.schema import Server
from embedwell.errors import Forbidden, RateLimited, Unauthorized
from embedwell.http.middleware import admission
from embedwell.interfaces.embedding import EmbeddingCall, Embeddings
from embedwell.interfaces.events import RequestFinished
from embedwell.interfaces.plugins import Caller, Plugin, RequestHead
from embedwell.interfaces.routes import Reply, Request
from tests.core.http.fake_core import TAG, FakeCore, app_of, ok, raising, route
from tests.core.http.http_driver import Connection, ask, get, post, scope_of

BODY = {"model": TAG, "input": "a secret text"}


@pytest.mark.parametrize("path", ["/health", "/nothing", "/models/%00", "/models"])
async def test_every_answer_has_a_request_id(path: str) -> None:
    app = app_of()
    assert re.fullmatch(r"req-[0-9a-f]{24}", (await get(app, path)).headers["x-request-id"])
    echoed = await get(app, path, x_request_id="My_id.1-2")
    assert echoed.headers["x-request-id"] == "My_id.1-2"


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "é", "a\tb"])
async def test_a_malformed_request_id_is_replaced(given: str) -> None:
    answer = await get(app_of(), "/health", x_request_id=given)
    assert answer.headers["x-request-id"].startswith("req-")


async def test_a_request_is_logged_and_observed_once(caplog: pytest.LogCaptureFixture) -> None:
    core = FakeCore()
    with caplog.at_level(logging.INFO):
        await post(create_app(core), "/embeddings?q=private", BODY, x_request_id="r-1")
    (record,) = caplog.records
    assert record.name == "embedwell.access"
    line = record.getMessage()
    assert re.fullmatch(
        r"POST /embeddings 200 \d+\.\d ms model=owner/model inputs=1 tokens=3 id=r-1", line
    )
    (event,) = core.events
    assert isinstance(event, RequestFinished)
    assert (event.route, event.status, event.model) == ("/embeddings", 200, TAG)
    assert event.seconds > 0


async def test_a_refused_request_is_observed_too() -> None:
    core = FakeCore()
    app = create_app(core)
    await get(app, "/nothing")
    await get(app, "/models/none")
    seen = [(e.route, e.status) for e in core.events if isinstance(e, RequestFinished)]
    assert seen == [("", 404), ("/models/<tag>", 404)]


async def test_a_path_cannot_forge_log_lines(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        await get(app_of(), "/models/\xff" + "a" * 5000)
    (record,) = caplog.records
    assert record.getMessage().startswith("GET /models/\\xffaaa")
    assert len(record.getMessage()) < 400


@pytest.mark.parametrize("forged", ["\r\nGET /x 200", "\x1b[2J", "\x85x", "\x00"])
async def test_what_no_server_should_let_pass_forges_no_lines_either(
    caplog: pytest.LogCaptureFixture, forged: str
) -> None:
    scope = scope_of("GET", "/models/a") | {"raw_path": f"/models/{forged}".encode("latin-1")}
    scope["method"] = f"GET{forged}"
    with caplog.at_level(logging.INFO):
        connection = Connection(app_of(), scope)
        connection.send(b"")
        await connection.answer()
    (record,) = caplog.records
    assert record.getMessage().isprintable()


async def test_a_model_that_was_asked_for_in_vain_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    core = FakeCore()
    with caplog.at_level(logging.INFO):
        await post(create_app(core), "/embeddings", BODY | {"model": "no\nmodel" + "x" * 1000})
    (record,) = caplog.records
    assert " model=no\\nmodelxxx" in record.getMessage()
    (event,) = core.events
    assert isinstance(event, RequestFinished)
    assert event.model.startswith("no\\nmodelxxx")
    assert len(event.model) < 300


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("x status=200 id=forged", "'x status=200 id=forged'"),
        ("a=b", "'a=b'"),
        ("a' caller=b", '"a\' caller=b"'),
        ("upload:owner/name.v1_2@r/1", "upload:owner/name.v1_2@r/1"),
    ],
)
async def test_what_looks_like_further_fields_is_quoted(
    caplog: pytest.LogCaptureFixture, name: str, shown: str
) -> None:
    core, _ = guarded(Caller(name))
    with caplog.at_level(logging.INFO):
        await post(create_app(core), "/embeddings", BODY | {"model": name})
    (record,) = caplog.records
    assert f" model={shown} " in record.getMessage()
    assert f" caller={shown} " in record.getMessage()


@pytest.mark.parametrize(
    ("url", "headers", "status", "kind", "message"),
    [
        ("/" + "a" * 8192, [], 414, "url_too_long", "The URL is longer than 8,192 bytes"),
        ("/health?" + "a" * 8190, [], 414, "url_too_long", "The URL is longer than 8,192 bytes"),
        (
            "/health",
            [("x", "y" * 33_000)],
            431,
            "headers_too_large",
            "The headers are larger than 32,768 bytes together",
        ),
        (
            "/health",
            [("content-length", "1"), ("transfer-encoding", "chunked")],
            400,
            "conflicting_framing",
            "Content-Length and Transfer-Encoding exclude each other",
        ),
        (
            "/health",
            [("content-length", "1"), ("content-length", "2")],
            400,
            "conflicting_framing",
            "The request has more than one Content-Length",
        ),
        (
            "/health",
            [("content-length", "+1")],
            400,
            "conflicting_framing",
            "The Content-Length is not a number of bytes",
        ),
    ],
)
async def test_heads_are_bounded_and_unambiguous(
    url: str, headers: list[tuple[str, str]], status: int, kind: str, message: str
) -> None:
    answer = await ask(app_of(), "GET", url, headers=headers)
    assert (answer.status, answer.json["error"]["code"], answer.detail) == (status, kind, message)
    assert (answer.headers.get("connection") == "close") == (kind == "conflicting_framing")


async def test_draining_refuses_all_but_public_routes() -> None:
    app = app_of()
    app.begin_drain()
    answer = await post(app, "/embeddings", BODY)
    assert (answer.status, answer.code) == (503, "DRAINING")
    assert answer.detail == "The server is stopping; try again"
    assert answer.headers["retry-after"] == "5"
    assert answer.headers["connection"] == "close"
    assert (await get(app, "/health")).status == 200
    ready = await get(app, "/ready")
    assert (ready.status, ready.detail) == (503, "Not ready: the server is stopping")


async def test_drained_waits_for_requests_in_flight() -> None:
    may_end = asyncio.Event()

    async def wait(request: Request) -> Reply:
        await may_end.wait()
        return Reply(body="done")

    app = app_of(route(wait))
    connection = Connection(app, scope_of("GET", "/test"))
    connection.send(b"")
    while not app.in_flight:
        await asyncio.sleep(0)
    drained = asyncio.ensure_future(app.drained())
    app.begin_drain()
    for _ in range(5):
        await asyncio.sleep(0)
    assert not drained.done()
    may_end.set()
    assert (await connection.answer()).status == 200
    await drained
    assert app.in_flight == 0


class Guard(Plugin):
    def __init__(self, answer: Caller | BaseException | None) -> None:
        self.answer = answer
        self.heads: list[RequestHead] = []

    async def guard(self, head: RequestHead) -> Caller | None:
        self.heads.append(head)
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


def guarded(*answers: Caller | BaseException | None) -> tuple[FakeCore, list[Guard]]:
    core = FakeCore()
    guards = [Guard(answer) for answer in answers]
    core.plugins = [(f"p{number}", guard) for number, guard in enumerate(guards)]
    return core, guards


async def test_guards_see_the_head_and_name_the_caller() -> None:
    core, (guard, _) = guarded(None, Caller("alice"))
    answer = await post(create_app(core), "/embeddings/", BODY, Authorization="Bearer k")
    assert answer.status == 200
    (head,) = guard.heads
    assert (head.method, head.path, head.access) == ("POST", "/embeddings", "embed")
    assert (head.headers[b"authorization"], head.client) == (b"Bearer k", "10.0.0.1")
    assert core.embedder.calls[0].caller == "alice"
    (event,) = core.events
    assert isinstance(event, RequestFinished)
    assert event.caller == "alice"


async def test_the_log_names_the_caller_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    core, _ = guarded(Caller("al\nice"))
    with caplog.at_level(logging.INFO):
        await get(create_app(core), "/models")
    (record,) = caplog.records
    assert " caller=al\\nice id=" in record.getMessage()


async def test_a_plugin_with_nothing_to_ask_for_is_not_asked() -> None:
    class Idle(Guard):
        guards = False

    core, _ = guarded()
    idle = Idle(Unauthorized("no key"))
    core.plugins = [("idle", idle)]
    app = create_app(core)
    assert (await get(app, "/models")).status == 200
    assert idle.heads == []
    assert "securitySchemes" not in (await get(app, "/openapi.json")).json["components"]
    assert Guard(None).guards, "one that overrides guard, and says nothing else"


@pytest.mark.parametrize(
    ("error", "status", "code", "headers"),
    [
        (Unauthorized("no key"), 401, "UNAUTHORIZED", {"www-authenticate": "Bearer"}),
        (Forbidden("not this host"), 403, "FORBIDDEN", {}),
        (RateLimited("slower", retry_after=2.5), 429, "RATE_LIMITED", {"retry-after": "3"}),
        (ValueError("/etc/secret"), 500, "INTERNAL", {}),
        (asyncio.CancelledError(), 500, "INTERNAL", {}),
    ],
)
async def test_one_guard_is_enough_to_refuse_before_the_body(
    error: BaseException, status: int, code: str, headers: dict[str, str]
) -> None:
    core, _ = guarded(Caller("alice"), error)
    length = [("content-length", "10")]
    connection = Connection(create_app(core), scope_of("POST", "/embeddings", length))
    answer = await connection.answer()
    assert (answer.status, answer.code) == (status, code)
    assert headers.items() <= answer.headers.items()
    assert connection.received == 0
    assert "secret" not in answer.detail


@pytest.mark.parametrize("first", [None, Caller("alice")])
async def test_who_is_refused_is_told_where_a_guard_knows(first: Caller | None) -> None:
    core, _ = guarded(first, Forbidden("not for bob", caller="bob"))
    assert (await get(create_app(core), "/models")).status == 403
    (event,) = core.events
    assert isinstance(event, RequestFinished)
    assert event.caller == ("alice" if first else "bob")


async def test_a_guard_that_breaks_is_named_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    core, _ = guarded(None, ValueError("broken"))
    assert (await get(create_app(core), "/models")).status == 500
    assert "the guard of plugin p1 failed" in caplog.text


async def test_two_guards_cannot_both_name_the_caller(caplog: pytest.LogCaptureFixture) -> None:
    core, _ = guarded(Caller("alice"), Caller("bob"))
    assert (await get(create_app(core), "/models")).code == "INTERNAL"
    assert "plugin p1 is the second to name the caller" in caplog.text


@pytest.mark.parametrize(
    "framing", [("content-length", "100000"), ("transfer-encoding", "chunked")]
)
async def test_bodies_in_flight_are_bounded_by_what_came(
    monkeypatch: pytest.MonkeyPatch, framing: tuple[str, str]
) -> None:
    monkeypatch.setattr(admission, "LEAST_BYTES", 0)
    app = create_app(FakeCore(server=Server(max_body_mb=0.1)))
    head = [("content-type", "application/json"), framing]
    holding = [Connection(app, scope_of("POST", "/embeddings", head)) for _ in range(8)]
    await asyncio.sleep(0)
    assert (await post(app, "/embeddings", BODY)).status == 200, "they were announced, no more"
    for connection in holding:
        connection.send(b" " * 99_999, more=True)
    while any(not connection.inbox.empty() for connection in holding):
        await asyncio.sleep(0)
    answer = await post(app, "/embeddings", BODY)
    assert (answer.status, answer.code) == (429, "OVERLOADED")
    assert answer.detail == "The server has too many requests at once; try again"
    assert (answer.headers["retry-after"], answer.headers["retry-after-ms"]) == ("1", "1000")
    assert (await get(app, "/health")).status == 200
    for connection in holding:
        connection.leave()
        await connection.task
    assert (await post(app, "/embeddings", BODY)).status == 200


async def test_a_scrape_is_answered_beside_as_many_requests_as_there_may_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(admission, "MAX_REQUESTS", 1)
    may_end = asyncio.Event()

    async def wait(request: Request) -> Reply:
        await may_end.wait()
        return Reply(body="done")

    app = app_of(route(wait), route(ok, path="/metrics", access="metrics"))
    connection = Connection(app, scope_of("GET", "/test"))
    connection.send(b"")
    await asyncio.sleep(0)
    assert (await get(app, "/models")).code == "OVERLOADED"
    for path in ("/health", "/ready", "/metrics"):
        assert (await get(app, path)).status == 200
    may_end.set()
    assert (await connection.answer()).status == 200


async def test_alone_any_legal_body_may_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "LEAST_BYTES", 0)
    monkeypatch.setattr(admission, "BODIES", 0)
    app = create_app(FakeCore(server=Server(max_body_mb=0.2)))
    long = BODY | {"user": "x" * 100_000}
    assert (await post(app, "/embeddings", long)).status == 200


@pytest.mark.parametrize("value", ["", "0", "-1", "abc", "1e3", "inf", "nan", "9" * 20, "٣"])
async def test_a_malformed_deadline_is_refused(value: str) -> None:
    answer = await get(app_of(), "/models", x_request_timeout=value.encode().decode("latin-1"))
    assert (answer.status, answer.code) == (422, "VALIDATION_ERROR")
    assert answer.detail == ("Invalid value for x-request-timeout: expected seconds, such as 2.5")
    assert answer.json["error"]["param"] == "x-request-timeout"


async def test_a_client_can_only_shorten_the_deadline() -> None:
    core = FakeCore(server=Server(request_timeout=5))
    app = create_app(core)
    await post(app, "/embeddings", BODY, x_request_timeout="100")
    await post(app, "/embeddings", BODY, x_request_timeout="2.5")
    first, second = core.embedder.calls
    assert 4 < first.timeout <= 5
    assert 2 < second.timeout <= 2.5


async def test_a_handler_that_forgets_the_deadline_is_ended() -> None:
    core = FakeCore(server=Server(request_timeout=0.02))
    ended: list[str] = []

    async def forever(call: EmbeddingCall) -> Embeddings:
        try:
            return await asyncio.Future[Embeddings]()
        finally:
            ended.append("cancelled")

    core.embedder.answer = forever
    core.clock = lambda: 0.0
    answer = await post(create_app(core), "/embeddings", BODY)
    assert (answer.status, answer.code) == (504, "TIMEOUT")
    assert answer.detail == "The request did not finish within 0.02 seconds"
    assert ended == ["cancelled"]


async def test_a_timeout_of_the_handlers_own_is_a_bug_not_a_deadline() -> None:
    assert (await get(app_of(route(raising(TimeoutError()))), "/test")).code == "INTERNAL"


@pytest.mark.parametrize("query", ["a=%ff", "&".join(f"a{n}=1" for n in range(101)), "\xff"])
async def test_a_malformed_query_is_refused(query: str) -> None:
    answer = await get(app_of(route(ok)), f"/test?{query}")
    assert (answer.status, answer.code) == (400, "BAD_REQUEST")
    assert answer.detail == "The query is not valid UTF-8, or has too many fields"


async def test_the_query_reaches_the_handler() -> None:
    async def echo(request: Request) -> Reply:
        return Reply(body=dict(request.query))

    answer = await get(app_of(route(echo)), "/test?a=1&b=%C3%A9+x&a=2&c")
    assert answer.json == {"a": "2", "b": "é x", "c": ""}


async def test_lifespan_is_answered_at_once() -> None:
    inbox = [{"type": "lifespan.shutdown"}, {"type": "lifespan.startup"}]
    sent: list[object] = []

    async def receive() -> dict[str, Any]:
        return inbox.pop()

    async def send(message: dict[str, Any]) -> None:
        sent.append(message["type"])

    await app_of()({"type": "lifespan"}, receive, send)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
