"""Behind a proxy: whom it acts for, and the prefix below which it shows the server."""

from collections.abc import Mapping
from typing import Any

import pytest

from embedwell.app import App, create_app
from embedwell.config.schema import Server
from embedwell.interfaces.plugins import Caller, Plugin, RequestHead
from embedwell.interfaces.routes import Mount, Reply, Request
from tests.core.http.fake_core import FakeCore, app_of, ok, route
from tests.core.http.http_driver import Answer, Connection, ask, get, scope_of

PROXY = "10.0.0.1"  # where http_driver's requests come from


class Seen(Plugin):
    def __init__(self) -> None:
        self.heads: list[RequestHead] = []

    async def guard(self, head: RequestHead) -> Caller | None:
        self.heads.append(head)
        return None


def watched(*trusted: str, **settings: Any) -> tuple[App, Seen]:
    core, seen = FakeCore(server=Server(trusted_proxies=trusted, **settings)), Seen()
    core.plugins = [("seen", seen)]
    return create_app(core), seen


@pytest.mark.parametrize(
    ("trusted", "headers", "client"),
    [
        ((), {"x-forwarded-for": "1.1.1.1"}, PROXY),
        (("10.9.9.9",), {"x-forwarded-for": "1.1.1.1"}, PROXY),
        ((PROXY,), {}, PROXY),
        ((PROXY,), {"x-forwarded-for": "1.1.1.1"}, "1.1.1.1"),
        (("10.0.0.0/8",), {"x-forwarded-for": "1.1.1.1"}, "1.1.1.1"),
        ((PROXY,), {"x-forwarded-for": "6.6.6.6, 1.1.1.1"}, "1.1.1.1"),
        ((PROXY, "10.0.0.2"), {"x-forwarded-for": "6.6.6.6, 1.1.1.1,10.0.0.2"}, "1.1.1.1"),
        ((PROXY, "10.0.0.2"), {"x-forwarded-for": "10.0.0.2"}, "10.0.0.2"),
        ((PROXY,), {"x-forwarded-for": "1.1.1.1:4711"}, "1.1.1.1"),
        ((PROXY,), {"x-forwarded-for": "[fd00::7]:4711"}, "fd00::7"),
        ((PROXY,), {"x-forwarded-for": "fd00::7"}, "fd00::7"),
        ((PROXY,), {"x-forwarded-for": "unknown"}, PROXY),
        ((PROXY, "10.0.0.2"), {"x-forwarded-for": "1.1.1.1, junk, 10.0.0.2"}, "10.0.0.2"),
        ((PROXY,), {"x-forwarded-for": "\xff\x00"}, PROXY),
        ((PROXY,), {"forwarded": "for=1.1.1.1;proto=https"}, "1.1.1.1"),
        ((PROXY,), {"forwarded": 'for=6.6.6.6, For="[fd00::7]:80" ; by=x'}, "fd00::7"),
        ((PROXY,), {"forwarded": "for=_hidden"}, PROXY),
        ((PROXY,), {"forwarded": 'for=1.1.1.1, for="broken'}, PROXY),
        ((PROXY,), {"forwarded": "for=6.6.6.6", "x-forwarded-for": "1.1.1.1"}, "1.1.1.1"),
        ((PROXY,), {"forwarded": "for=1.1.1.1", "x-forwarded-proto": "https"}, "1.1.1.1"),
        ((PROXY,), {"x-forwarded-proto": "https"}, PROXY),
    ],
)
async def test_who_asks(trusted: tuple[str, ...], headers: Mapping[str, str], client: str) -> None:
    app, seen = watched(*trusted)
    assert (await ask(app, "GET", "/models", headers=headers)).status == 200
    assert seen.heads[0].client == client


async def test_values_in_several_headers_are_one_list() -> None:
    app, seen = watched(PROXY)
    await ask(app, "GET", "/models", headers=[("x-forwarded-for", "6.6.6.6"),
                                              ("x-forwarded-for", "1.1.1.1")])  # fmt: skip
    assert seen.heads[0].client == "1.1.1.1"


@pytest.mark.parametrize(("trusted", "client"), [(("unix",), "1.1.1.1"), ((PROXY,), "")])
async def test_a_proxy_at_a_socket_is_trusted_by_that_name(
    trusted: tuple[str, ...], client: str
) -> None:
    app, seen = watched(*trusted, unix_socket="/run/e.sock")
    scope = {**scope_of("GET", "/models", [("x-forwarded-for", "1.1.1.1")]), "client": None}
    assert (await talk(app, scope)).status == 200
    assert seen.heads[0].client == client


async def talk(app: App, scope: dict[str, Any]) -> Answer:
    connection = Connection(app, scope)
    connection.send(b"")
    return await connection.answer()


SITE = {"host": "localhost:8000", "origin": "https://emb.example"}


@pytest.mark.parametrize(
    "told",
    [
        {"x-forwarded-for": "1.1.1.1", "x-forwarded-proto": "https",
         "x-forwarded-host": "emb.example"},
        {"x-forwarded-for": "1.1.1.1", "x-forwarded-proto": "http, HTTPS",
         "x-forwarded-host": "evil.example, emb.example"},
        {"forwarded": "for=1.1.1.1;host=emb.example;proto=https"},
        {"x-forwarded-proto": "https", "host": "emb.example"},
        {"x-forwarded-proto": "https", "x-forwarded-host": "emb.example"},
    ],
)  # fmt: skip
async def test_the_sites_own_pages_may_call_through_it(told: Mapping[str, str]) -> None:
    names = ("emb.example",)
    trusting = app_of(server=Server(trusted_proxies=(PROXY,), allowed_hosts=names))
    assert (await ask(trusting, "POST", "/embeddings", headers={**SITE, **told})).status == 415
    other = app_of(server=Server(trusted_proxies=("10.9.9.9",), allowed_hosts=names))
    assert (await ask(other, "POST", "/embeddings", headers={**SITE, **told})).status == 403


async def test_the_name_is_checked_on_both_sides_of_the_proxy() -> None:
    app = app_of(server=Server(trusted_proxies=(PROXY,)))
    told = {"x-forwarded-for": "1.1.1.1", "x-forwarded-host": "localhost"}
    assert (await ask(app, "GET", "/health", headers=told)).status == 200
    through = {**told, "x-forwarded-host": "evil.example"}
    assert (await ask(app, "GET", "/health", headers=through)).code == "FORBIDDEN"
    beside = {**told, "host": "evil.example"}
    assert (await ask(app, "GET", "/health", headers=beside)).code == "FORBIDDEN"


@pytest.mark.parametrize("prefix", ["", "/api/emb"])
async def test_the_prefix_may_be_stripped_or_not(prefix: str) -> None:
    app = app_of(route(ok), server=Server(root_path="/api/emb"))
    assert (await get(app, f"{prefix}/test")).json["path"] == "/test"
    answer = await ask(app, "POST", f"{prefix}/v1/embeddings", body=b"{}",
                       headers={"content-type": "application/json"})  # fmt: skip
    assert answer.status == 400  # as below /v1
    assert (await get(app, f"{prefix}/nothing")).detail.startswith("Route not found: /nothing; ")


async def test_only_the_whole_prefix_is_taken_away() -> None:
    app = app_of(route(ok, path="/apix"), server=Server(root_path="/api"))
    assert (await get(app, "/apix")).status == 200
    assert (await get(app, "/api")).detail.startswith("Route not found: /; ")


async def test_locations_are_below_the_prefix() -> None:
    async def made(request: Request) -> Reply:
        return Reply(status=202, body={}, headers={"Location": request.query["to"]})

    app = app_of(route(made), server=Server(root_path="/api"))
    for to, told in (
        ("/tasks/1", "/api/tasks/1"),
        ("/api/tasks/1", "/api/tasks/1"),
        ("https://other.example/x", "https://other.example/x"),
    ):
        assert (await get(app, f"/test?to={to}")).headers["location"] == told


async def test_the_document_says_where_it_is() -> None:
    below = app_of(server=Server(root_path="/api"))
    assert (await get(below, "/api/openapi.json")).json["servers"] == [{"url": "/api"}]
    assert "servers" not in (await get(app_of(), "/openapi.json")).json


@pytest.mark.parametrize("sent", ["/mounted/a%20b", "/api/mounted/a%20b"])
async def test_mounts_see_the_whole_path(sent: str) -> None:
    seen: list[dict[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    mount = Mount(prefix="/mounted", app=app, access="public")
    await get(app_of(mount, server=Server(root_path="/api")), sent)
    (scope,) = seen
    assert (scope["root_path"], scope["path"]) == ("/api/mounted", "/api/mounted/a b")
    assert scope["raw_path"] == b"/api/mounted/a%20b"
