"""Names and pages that may not call, and what those that may are told."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from embedwell.app import App, create_app
from embedwell.config.schema import Server
from embedwell.errors import Unauthorized
from embedwell.http.asgi import Message
from embedwell.interfaces.plugins import Caller, Plugin, RequestHead
from embedwell.interfaces.routes import Mount
from tests.core.http.fake_core import TAG, FakeCore, app_of
from tests.core.http.http_driver import Answer, ask, get, post, scope_of

APP = "https://app.example"
EVIL = "https://evil.example"
BODY = {"model": TAG, "input": "a"}
ROUTES = [
    ("GET", "/health"), ("GET", "/ready"), ("GET", "/docs"), ("GET", "/openapi.json"),
    ("GET", "/models"), ("POST", "/embeddings"), ("POST", "/v1/embeddings"), ("GET", "/nothing"),
    ("DELETE", "/models/a"), ("OPTIONS", "/health"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example",
     "localhost:8000:8000", "[::2]", "user@localhost", "localhost:x", "é", "10.0.0.1", "a" * 300],
)  # fmt: skip
async def test_t33_another_name_is_refused_on_every_route(
    method: str, path: str, host: str
) -> None:
    answer = await ask(app_of(), method, path, headers={"host": host})
    assert (answer.status, answer.code) == (403, "FORBIDDEN")
    assert answer.detail.startswith("This server does not answer to ")
    assert answer.detail.endswith(" (server.allowed_hosts)")
    assert "x-request-id" in answer.headers


@pytest.mark.parametrize(
    ("headers", "detail"),
    [
        ([("host", "")], "The request has no Host"),
        ([("host", "localhost"), ("host", "evil.example")], "The request has more than one Host"),
        ([("host", "localhost"), ("host", "localhost")], "The request has more than one Host"),
    ],
)
async def test_t33_one_host_is_needed(headers: Sequence[tuple[str, str]], detail: str) -> None:
    answer = await ask(app_of(), "GET", "/health", headers=headers)
    assert (answer.status, answer.code, answer.detail) == (403, "FORBIDDEN", detail)


async def test_t33_an_absolute_target_is_a_host_too() -> None:
    assert (await get(app_of(), "http://localhost:8000/health")).status == 200
    assert (await get(app_of(), "http://evil.example/health")).status == 403
    assert (await get(app_of(), "http:///health")).status == 403


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:8000", "LocalHost:9000", "localhost.", "127.0.0.1", "127.0.0.1:1",
     "[::1]", "[::1]:8000", "127.8.0.1:8000"],
)  # fmt: skip
async def test_a_loopback_server_answers_to_its_own_names(host: str) -> None:
    app = app_of(server=Server(host="127.8.0.1"))
    assert (await get(app, "/health", host=host)).status == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [("one.example", 200), ("ONE.example:80", 200), ("a.two.example", 200),
     ("a.b.two.example:1", 200), ("two.example", 403), ("atwo.example", 403), ("[fd00::1]", 200),
     ("0.0.0.0", 403), ("localhost", 200), ("three.example", 403)],
)  # fmt: skip
async def test_listed_names_and_names_below_them(host: str, status: int) -> None:
    listed = ("One.example.", "*.two.example", "fd00:0:0::1")
    app = app_of(server=Server(host="0.0.0.0", allowed_hosts=listed))
    assert (await get(app, "/health", host=host)).status == status


@pytest.mark.parametrize(
    "server", [Server(host="0.0.0.0", allowed_hosts=("*",)), Server(unix_socket="/run/e.sock")]
)
async def test_any_name_where_that_is_allowed(server: Server) -> None:
    assert (await get(app_of(server=server), "/health", host="x.example")).status == 200


async def test_a_unix_socket_can_have_names_of_its_own() -> None:
    app = app_of(server=Server(unix_socket="/run/e.sock", allowed_hosts=("a.example",)))
    assert (await get(app, "/health", host="a.example")).status == 200
    assert (await get(app, "/health", host="b.example")).status == 403


@pytest.mark.parametrize("origin", [EVIL, "null", "http://localhost:1", "", "https://localhost"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
@pytest.mark.parametrize("listed", [(), (APP,)])
async def test_t34_other_pages_may_not_change_anything(
    origin: str, method: str, listed: tuple[str, ...]
) -> None:
    app = app_of(server=Server(allowed_origins=listed))
    headers = {"origin": origin, "host": "localhost:8000"}
    answer = await ask(app, method, "/embeddings", headers=headers)
    assert (answer.status, answer.code) == (403, "FORBIDDEN")
    assert answer.detail == f"Pages of {origin!r} may not call here (server.allowed_origins)"
    assert not any(name.startswith("access-control") for name in answer.headers)
    preflight = await ask(
        app, "OPTIONS", "/embeddings", headers={**headers, "access-control-request-method": method}
    )
    assert preflight.status == 403
    assert not any(name.startswith("access-control") for name in preflight.headers)


async def test_t33_t34_no_route_is_forgotten() -> None:
    app = app_of()
    paths = (await get(app, "/openapi.json")).json["paths"]
    routes = [
        (method.upper(), path.replace("{", "").replace("}", ""))
        for path, methods in paths.items()
        for method in methods
    ]
    assert len(routes) > 15
    for method, path in routes:
        strange = await ask(app, method, path, headers={"host": "evil.example"})
        assert (strange.status, strange.code) == (403, "FORBIDDEN"), (method, path)
        page = await ask(app, method, path, headers={"origin": EVIL})
        assert (page.status == 403) == (method != "GET"), (method, path)


async def test_t34_two_origins_are_none() -> None:
    app = app_of(server=Server(allowed_origins=(APP,)))
    answer = await ask(app, "POST", "/embeddings", headers=[("origin", APP), ("origin", APP)])
    assert answer.status == 403
    assert "access-control-allow-origin" not in answer.headers


async def test_what_other_pages_get_they_cannot_read() -> None:
    for server in (Server(), Server(allowed_origins=(APP,))):
        answer = await get(app_of(server=server), "/models", origin=EVIL)
        assert answer.status == 200
        assert not any(name.startswith("access-control") for name in answer.headers)


@pytest.mark.parametrize(
    ("host", "scheme", "origin"),
    [
        ("localhost:8000", "http", "http://localhost:8000"),
        ("LOCALHOST:8000", "http", "http://localhost:8000"),
        ("localhost", "http", "http://localhost"),
        ("localhost:80", "http", "http://localhost"),
        ("localhost:443", "https", "https://localhost"),
        ("[::1]:8000", "http", "http://[::1]:8000"),
    ],
)
async def test_our_own_page_may_call(host: str, scheme: str, origin: str) -> None:
    app = app_of()
    scoped = {**scope_of("POST", "/embeddings", [("host", host), ("origin", origin)]),
              "scheme": scheme}  # fmt: skip
    assert (await talk(app, scoped)).status == 415  # past the check: it has no body


async def talk(app: App, scope: dict[str, Any]) -> Answer:
    from tests.core.http.http_driver import Connection

    connection = Connection(app, scope)
    connection.send(b"")
    return await connection.answer()


async def test_a_listed_page_calls_and_reads() -> None:
    app = app_of(server=Server(allowed_origins=("HTTPS://APP.example",)))
    answer = await post(app, "/embeddings", BODY, origin=APP)
    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] == APP
    assert answer.headers["vary"] == "Origin"
    exposed = answer.headers["access-control-expose-headers"].split(", ")
    assert {"x-request-id", "x-embedwell-truncated", "server-timing"} <= set(exposed)


@pytest.mark.parametrize("path", ["/nothing", "/models/none", "/models/%00"])
async def test_a_listed_page_reads_errors_too(path: str) -> None:
    app = app_of(server=Server(allowed_origins=(APP,)))
    answer = await get(app, path, origin=APP)
    assert answer.status in (400, 404)
    assert answer.headers["access-control-allow-origin"] == APP


async def test_answers_differ_by_origin_for_caches_too() -> None:
    app = app_of(server=Server(allowed_origins=(APP,)))
    assert (await get(app, "/models")).headers["vary"] == "Origin"
    assert "vary" not in (await get(app_of(), "/models")).headers


class Locked(Plugin):
    def __init__(self) -> None:
        pass

    async def guard(self, head: RequestHead) -> Caller | None:
        raise Unauthorized("no key")


@pytest.mark.parametrize(
    ("path", "methods"),
    [("/embeddings", "POST"), ("/models", "GET, HEAD"), ("/models/a/b", "DELETE, GET, HEAD"),
     ("/mounted/x", "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT")],
)  # fmt: skip
async def test_a_preflight_needs_no_key_and_names_the_methods(path: str, methods: str) -> None:
    core = FakeCore(Mount(prefix="/mounted", app=nobody, access="manage"),
                    server=Server(allowed_origins=(APP,)))  # fmt: skip
    core.plugins = [("locked", Locked())]
    app = create_app(core)
    headers = {
        "origin": APP,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type,x-stainless-os",
    }
    answer = await ask(app, "OPTIONS", path, headers=headers)
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == APP
    assert answer.headers["access-control-allow-methods"] == methods
    asked = "authorization,content-type,x-stainless-os"
    assert answer.headers["access-control-allow-headers"] == asked
    assert answer.headers["access-control-max-age"] == "600"
    refused = await ask(app, "POST", path, headers={"origin": APP})
    assert refused.status in (401, 405)
    assert refused.headers["access-control-allow-origin"] == APP


async def test_a_preflight_with_odd_headers_is_told_the_usual_ones() -> None:
    app = app_of(server=Server(allowed_origins=(APP,)))
    headers = {
        "origin": APP,
        "access-control-request-method": "POST",
        "access-control-request-headers": "a\tb;c",
    }
    answer = await ask(app, "OPTIONS", "/embeddings", headers=headers)
    assert answer.headers["access-control-allow-headers"] == "authorization, content-type"


async def test_a_preflight_of_no_route_is_404() -> None:
    app = app_of(server=Server(allowed_origins=(APP,)))
    headers = {"origin": APP, "access-control-request-method": "POST"}
    assert (await ask(app, "OPTIONS", "/nothing", headers=headers)).code == "NOT_FOUND"


async def test_every_page_but_those_without_an_origin() -> None:
    app = app_of(server=Server(allowed_origins=("*",)))
    answer = await post(app, "/embeddings", BODY, origin=EVIL)
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, EVIL)
    assert (await post(app, "/embeddings", BODY, origin="null")).status == 403


async def nobody(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError("it must not be reached")


async def accepting(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "websocket.accept"})


@pytest.mark.parametrize(
    ("origin", "host", "status"),
    [(None, "localhost:8000", None), ("http://localhost:8000", "localhost:8000", None),
     (APP, "localhost:8000", None), (EVIL, "localhost:8000", 403), ("null", "localhost:8000", 403),
     (None, "evil.example", 403)],
)  # fmt: skip
async def test_websockets_obey_too(origin: str | None, host: str, status: int | None) -> None:
    mount = Mount(prefix="/mounted", app=accepting, access="public")
    app = app_of(mount, server=Server(allowed_origins=(APP,)))
    given = [("host", host), *([("origin", origin)] if origin else [])]
    scope = {**scope_of("GET", "/mounted/x", given), "type": "websocket", "scheme": "ws"}
    scope["extensions"] = {"websocket.http.response": {}}
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, asyncio.Queue[Message]().get, send)
    if status is None:
        assert [message["type"] for message in sent] == ["websocket.accept"]
    else:
        assert sent[0]["type"] == "websocket.http.response.start"
        assert (sent[0]["status"], sent[1]["type"]) == (status, "websocket.http.response.body")
        assert b'"FORBIDDEN"' in sent[1]["body"]
        assert b"x-request-id" in dict(sent[0]["headers"])
