"""Paths and methods: which route answers, and how everything else is refused."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedwell.app import App, create_app
from embedwell.errors import PluginError
from embedwell.http.asgi import Receive, Scope, Send
from embedwell.http.table import Pattern
from embedwell.interfaces.routes import Mount
from tests.core.http.fake_core import FakeCore, app_of, ok, route
from tests.core.http.http_driver import ask, get, scope_of


@pytest.fixture
def app() -> App:
    return app_of(
        route(ok, path="/jobs/<id>"),
        route(ok, "DELETE", path="/jobs/<id>"),
        route(ok, path="/counter/<tag>"),
        route(ok, path="/counter/<tag>/days/<day>"),
        route(ok, path="/counter/all"),
    )


@pytest.mark.parametrize(
    ("path", "args"),
    [
        ("/jobs/7", {"id": "7"}),
        ("/jobs/7/", {"id": "7"}),
        ("/jobs/a%20b", {"id": "a b"}),
        ("/counter/model", {"tag": "model"}),
        ("/counter/owner/model", {"tag": "owner/model"}),
        ("/counter/owner%2Fmodel", {"tag": "owner/model"}),
        ("/counter/owner%2fmodel@v/1/", {"tag": "owner/model@v/1"}),
        ("/counter/owner/model/days/3", {"tag": "owner/model", "day": "3"}),
        ("/counter/all", {}),
        ("http://localhost/jobs/7", {"id": "7"}),
    ],
)
async def test_paths_reach_their_route(app: App, path: str, args: Mapping[str, str]) -> None:
    answer = await get(app, path)
    assert (answer.status, answer.json["args"]) == (200, args)


async def test_a_slash_in_a_tag_may_be_escaped(app: App) -> None:
    for path in ("/models/owner/model", "/models/owner%2Fmodel", "/v1/models/owner%2Fmodel/"):
        assert (await get(app, path)).json["id"] == "owner/model"


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/nothing",
        "//health",
        "/health//",
        "/models//owner",
        "/models/owner%2F",
        "/models/a%2F%2Fb",
        "/v1/health",
        "/jobs",
        "/Health",
        "health",
        "*",
    ],
)
async def test_other_paths_are_not_found(app: App, path: str) -> None:
    answer = await get(app, path)
    assert (answer.status, answer.code) == (404, "NOT_FOUND")
    assert answer.detail.startswith("Route not found: ")
    assert answer.json["error"]["code"] == "route_not_found"


async def test_who_asks_for_no_route_is_told_where_they_are(app: App) -> None:
    for path in ("/", "/jobs"):
        told = f"Route not found: {path}; GET /docs lists those there are"
        assert (await get(app, path)).detail == told


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/jobs/a%2Fb", "an encoded slash outside of a model's tag"),
        ("/v1%2Fembeddings", "an encoded slash outside of a model's tag"),
        ("/models/%252e", "an encoded %, NUL or control character"),
        ("/models/%00", "an encoded %, NUL or control character"),
        ("/models/a%0Ab", "an encoded %, NUL or control character"),
        ("/models/%C2%85", "an encoded %, NUL or control character"),
        ("/models/%EF%BF%BD", "an encoded %, NUL or control character"),
        ("/models/\x01", "an encoded %, NUL or control character"),
        ("/models/..", "a dot segment"),
        ("/models/%2e%2E/x", "a dot segment"),
        ("/models/a%2F..%2Fb", "a dot segment"),
        ("/models/./a", "a dot segment"),
        ("/models/%zz", "a % that no two hexadecimal digits follow"),
        ("/models/a%2", "a % that no two hexadecimal digits follow"),
        ("/models/%ff", "not valid UTF-8"),
        ("/models/\xe9", "not valid UTF-8"),
    ],
)
async def test_ambiguous_paths_are_refused(app: App, path: str, reason: str) -> None:
    answer = await get(app, path)
    assert (answer.status, answer.code) == (400, "BAD_REQUEST")
    assert reason in answer.detail


@given(st.binary(max_size=40))
async def test_no_path_whatever_is_a_server_error(rest: bytes) -> None:
    answer = await get(app_of(), "/models/" + rest.decode("latin-1").replace("?", ""))
    assert answer.status in {200, 400, 404, 422}


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/embeddings", "POST"),
        ("POST", "/health", "GET, HEAD"),
        ("PUT", "/jobs/1", "DELETE, GET, HEAD"),
        ("PATCH", "/models/upload", "DELETE, GET, HEAD, POST, PUT"),
        ("POST", "/models/owner/model", "DELETE, GET, HEAD"),
        ("OPTIONS", "/v1/models", "GET, HEAD"),
    ],
)
async def test_other_methods_are_told_which_exist(
    app: App, method: str, path: str, allow: str
) -> None:
    answer = await ask(app, method, path)
    assert (answer.status, answer.code) == (405, "METHOD_NOT_ALLOWED")
    assert answer.headers["allow"] == allow
    assert answer.detail == f"Method not allowed: {method} {path}; it has {allow}"


async def test_head_is_get_without_its_body(app: App) -> None:
    full, head = await get(app, "/models"), await ask(app, "HEAD", "/models")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-length"] == full.headers["content-length"]
    missing = await ask(app, "HEAD", "/nothing")
    assert (missing.status, missing.body) == (404, b"")


@pytest.mark.parametrize(
    ("method", "path", "distribution"),
    [
        ("POST", "/models/upload", "embedwell-source-upload"),
        ("PUT", "/models/upload", "embedwell-source-upload"),
        ("POST", "/models/github", "embedwell-source-github"),
        ("POST", "/models/huggingface", "embedwell-source-huggingface"),
        ("GET", "/metrics", "embedwell-plugin-metrics"),
    ],
)
async def test_routes_of_absent_plugins_name_their_distribution(
    app: App, method: str, path: str, distribution: str
) -> None:
    answer = await ask(app, method, path)
    assert (answer.status, answer.code) == (404, "NOT_FOUND")
    assert (
        answer.detail
        == f"Route not found: {method} {path} needs a plugin; pip install {distribution}"
    )


async def test_a_plugin_brings_its_route() -> None:
    app = app_of(route(ok, "POST", "/models/github"))
    assert (await ask(app, "POST", "/models/github")).status == 200
    assert (await ask(app, "POST", "/models/upload")).status == 404


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    body = f"{scope['root_path']} {scope['path']}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


async def test_a_mount_has_everything_below_its_prefix() -> None:
    app = app_of(Mount(prefix="/board", app=application, access="manage"))
    for path in ("/board", "/board/", "/board/a/b"):
        answer = await get(app, path)
        assert answer.body.decode() == f"/board {path}"
        assert answer.headers["x-request-id"]
    assert (await get(app, "/boards")).status == 404
    assert (await get(app, "/board/a%2Fb")).status == 400


async def test_websockets_reach_mounts_only() -> None:
    async def accept(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})

    app = app_of(Mount(prefix="/board", app=accept, access="manage"))
    sent = []
    for path in ("/board/live", "/embeddings"):
        scope = {**scope_of("GET", path), "type": "websocket"}
        del scope["method"]

        async def send(message: dict[str, object]) -> None:
            sent.append(message["type"])

        await app(scope, lambda: pytest.fail("nothing to receive"), send)
    assert sent == ["websocket.accept", "websocket.close"]


def test_two_routes_alike_stop_the_start() -> None:
    with pytest.raises(PluginError, match="Two plugins have a route GET /models"):
        create_app(FakeCore(route(ok, path="/models")))


@pytest.mark.parametrize("path", ["models", "/a//b", "/<tag>/<tag>"])
def test_a_path_that_is_none_stops_the_start(path: str) -> None:
    with pytest.raises(PluginError, match="is no path for a route"):
        Pattern.of(path)
