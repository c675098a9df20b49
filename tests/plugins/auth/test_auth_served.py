"""Keys at a real server: every route, the official client, quotas, bodies that never come."""

import asyncio
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

import httpx
import openai
import pytest

from embedwell import RequestFinished
from embedwell.testing import FakeBackend
from embedwell.testing.server import RunningServer
from tests.e2e.conftest import Start
from tests.plugins.auth.some_keys import ADMIN, USER, WRONG, bearer, table, tables

SCRAPER = "scraper-key-0123456789abcdefghijkl"
SCOPES = {"embed": USER, "manage": ADMIN, "metrics": SCRAPER}
BODY = {"model": "tiny", "input": ["w1", "w2 w3"]}

CONTRACT: Mapping[tuple[str, str], str] = {
    ("get", "/health"): "public",
    ("get", "/ready"): "public",
    ("get", "/openapi.json"): "public",
    ("get", "/docs"): "public",
    ("post", "/embeddings"): "embed",
    ("post", "/v1/embeddings"): "embed",
    ("get", "/models"): "embed",
    ("get", "/v1/models"): "embed",
    ("get", "/models/{tag}"): "embed",
    ("get", "/v1/models/{tag}"): "embed",
    ("get", "/embeddings/counter/{tag}"): "embed",
    ("get", "/info"): "embed",
    ("delete", "/models/{tag}"): "manage",
    ("delete", "/v1/models/{tag}"): "manage",
    ("post", "/models/upload"): "manage",
    ("put", "/models/upload"): "manage",
    ("post", "/models/github"): "manage",
    ("post", "/models/huggingface"): "manage",
    ("get", "/tasks"): "manage",
    ("get", "/tasks/{id}"): "manage",
    ("delete", "/tasks/{id}"): "manage",
    ("post", "/embeddings/preload"): "manage",
    ("get", "/embeddings/cache/status"): "manage",
    ("post", "/embeddings/cache/clear"): "manage",
    ("get", "/plugins"): "manage",
    ("get", "/metrics"): "metrics",
}
FROM_OTHERS = {("get", "/metrics")}  # served where its plugin is installed


def keyed(tiny: Start, user: Mapping[str, Any] = {}) -> AbstractAsyncContextManager[RunningServer]:
    keys = {scope: table(key, scope) for scope, key in SCOPES.items()}
    keys["embed"] |= user
    return tiny(FakeBackend(), plugins=tables(**keys))


def client(server: RunningServer) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=server.url, timeout=60)


async def test_every_route_asks_for_the_scope_that_the_contract_says(tiny: Start) -> None:
    async with keyed(tiny) as server, client(server) as http:
        document = (await http.get("/openapi.json")).json()
        assert document["components"]["securitySchemes"] == {
            "key": {"type": "http", "scheme": "bearer"}
        }
        found = {(m, p): o for p, methods in document["paths"].items() for m, o in methods.items()}
        assert CONTRACT.keys() - found.keys() <= FROM_OTHERS
        assert found.keys() <= CONTRACT.keys(), "a new route: say which scope it needs"
        for (method, path), operation in found.items():
            access = CONTRACT[method, path]
            asked = [{"key": [access]}] if access != "public" else None
            assert operation.get("security") == asked, path
            await check_route(http, method, path, access)


async def check_route(http: httpx.AsyncClient, method: str, path: str, access: str) -> None:
    url = path.replace("{tag}", "nobody/nothing").replace("{id}", "none")
    for key in ("", WRONG, *SCOPES.values()):
        answer = await http.request(method, url, headers=bearer(key) if key else {})
        where = f"{method} {path} with {key[:9]!r}"
        if access == "public" or key == SCOPES.get(access):
            assert answer.status_code not in (401, 403, 429), where
        elif key in SCOPES.values():
            assert (answer.status_code, answer.json()["code"]) == (403, "FORBIDDEN"), where
            owner = next(name for name, shown in SCOPES.items() if shown == key)
            assert answer.json()["detail"] == (
                f'The key "{owner}" lacks the scope "{access}": '
                f"add it to scopes of [plugins.auth.keys.{owner}]"
            ), where
        else:
            assert (answer.status_code, answer.json()["code"]) == (401, "UNAUTHORIZED"), where
            assert answer.headers["www-authenticate"] == "Bearer", where


async def test_without_keys_nobody_is_asked(tiny: Start) -> None:
    async with tiny(FakeBackend()) as server, client(server) as http:
        document = (await http.get("/openapi.json")).json()
        assert "securitySchemes" not in document["components"]
        assert not any(
            "security" in operation
            for path in document["paths"].values()
            for operation in path.values()
        )
        assert (await http.post("/embeddings", json=BODY)).status_code == 200
        assert (await http.post("/embeddings", json=BODY, headers=bearer("x"))).status_code == 200
        assert not any(plugin.guards for _, plugin in server.runtime.plugins)
        (auth,) = [p for p in (await http.get("/plugins")).json()["plugins"] if p["name"] == "auth"]
        assert auth["state"] == "unused"


async def test_the_official_client(tiny: Start) -> None:
    async with keyed(tiny, {"requests_per_minute": 2}) as server:
        made = openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key=USER, max_retries=0)
        async with made as right, right.with_options(api_key=WRONG) as wrong:
            answer = await right.embeddings.create(model="tiny", input=["w1", "w2"])
            assert len(answer.data) == 2
            with pytest.raises(openai.AuthenticationError) as refused:
                await wrong.embeddings.create(model="tiny", input="w1")
            assert refused.value.code == "invalid_api_key"
            assert refused.value.type == "authentication_error"
            await right.models.list()
            with pytest.raises(openai.RateLimitError) as late:
                await right.embeddings.create(model="tiny", input="w1")
            assert late.value.code == "rate_limit_exceeded"
            assert 0 < int(late.value.response.headers["retry-after-ms"]) <= 30_000
            assert 0 < int(late.value.response.headers["retry-after"]) <= 30


@pytest.mark.parametrize("name", ["api-key", "x-api-key", "X-API-Key"])
async def test_headers_of_other_clients(tiny: Start, name: str) -> None:
    async with keyed(tiny) as server, client(server) as http:
        for key, status in ((USER, 200), (WRONG, 401), ("", 401)):
            assert (await http.get("/models", headers={name: key})).status_code == status


RAW = [
    [(b"authorization", b"Bearer \xff\xfe\x80")],
    [(b"authorization", b"Bearer " + "é".encode() * 20)],
    [(b"authorization", b"Bearer " + b"k" * 8192)],
    [(b"authorization", b"Basic dTpw")],
    [(b"authorization", b"Bearer")],
    [(b"authorization", b"")],
    [(b"authorization", USER.encode())],
    [(b"authorization", b"Bearer " + USER[:-1].encode())],
    [(b"authorization", b"Bearer " + USER.upper().encode())],
    [(b"authorization", b"Bearer " + USER.encode())] * 2,
    [(b"authorization", b"Bearer " + USER.encode()), (b"authorization", b"Bearer x")],
    [(b"authorization", b"Bearer " + USER.encode()), (b"api-key", b"x")],
    [(b"api-key", b"\xff")],
]


async def test_what_is_no_key_is_refused_and_nothing_else(tiny: Start) -> None:
    async with keyed(tiny) as server, client(server) as http:
        for headers in RAW:
            answer = await http.get("/models", headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (401, "UNAUTHORIZED"), headers
            assert USER not in answer.text


async def test_a_wrong_key_and_one_that_is_near_are_answered_alike(tiny: Start) -> None:
    async with keyed(tiny) as server, client(server) as http:
        told = {
            (await http.get("/models", headers=bearer(key))).json()["detail"]
            for key in (WRONG, USER[:-1], USER + "x", "short", ADMIN[:-1] + "!")
        }
    assert told == {"The API key is not valid"}


async def test_tokens_are_a_quota_too(tiny: Start) -> None:
    async with keyed(tiny, {"tokens_per_minute": 2}) as server, client(server) as http:
        first = await http.post("/embeddings", json=BODY, headers=bearer(USER))
        tokens = first.json()["usage"]["prompt_tokens"]
        assert first.status_code == 200
        assert tokens > 2
        second = await http.post("/embeddings", json=BODY, headers=bearer(USER))
        assert (second.status_code, second.json()["code"]) == (429, "RATE_LIMITED")
        assert "2 tokens a minute" in second.json()["detail"]
        assert float(second.headers["retry-after-ms"]) <= 30_000 * (tokens - 1) + 1
        assert (await http.get("/models", headers=bearer(USER))).status_code == 200


async def test_log_and_events_say_who_it_was(tiny: Start, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with keyed(tiny, {"requests_per_minute": 1}) as server, client(server) as http:
        assert (await http.post("/embeddings", json=BODY, headers=bearer(USER))).is_success
        assert (await http.get("/tasks", headers=bearer(USER))).status_code == 403
        assert (await http.get("/models", headers=bearer(USER))).status_code == 429
        assert (await http.get("/models", headers=bearer(WRONG))).status_code == 401
        finished = [event for event in server.events if isinstance(event, RequestFinished)]
        async with asyncio.timeout(30):
            while len(finished) < 4:
                await asyncio.sleep(0)
                finished = [event for event in server.events if isinstance(event, RequestFinished)]
    assert [event.caller for event in finished] == ["embed", "embed", "embed", None]
    lines = [r.getMessage() for r in caplog.records if r.name == "embedwell.access"]
    assert [" caller=embed " in line for line in lines] == [True, True, True, False]
    assert 'The key "embed" lacks the scope "manage"' in lines[1]


HUGE = 1_000_000_000


@pytest.mark.parametrize("key", ["", WRONG, USER])
@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/models/upload"), ("PUT", "/models/upload?model=a"), ("POST", "/models/github"),
     ("POST", "/models/huggingface"), ("DELETE", "/models/tiny"), ("POST", "/embeddings/preload"),
     ("POST", "/embeddings/cache/clear")],
)  # fmt: skip
async def test_t35_refusals_do_not_wait_for_a_body(
    tiny: Start, method: str, path: str, key: str
) -> None:
    async with keyed(tiny) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        head = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Content-Length: {HUGE}"]
        head += ["Content-Type: application/zip"]
        head += [f"Authorization: Bearer {key}"] if key else []
        writer.write("\r\n".join([*head, "", "x"]).encode())  # one byte of a gigabyte
        async with asyncio.timeout(60):
            answer = await reader.readuntil(b"\r\n\r\n")
            body = await reader.readuntil(b"}}")
        writer.close()
        await writer.wait_closed()
    status, code = (403, b"FORBIDDEN") if key == USER else (401, b"UNAUTHORIZED")
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert b'"code":"' + code in body


async def test_a_key_opens_what_it_names_only(tiny: Start) -> None:
    """`manage` does not open embeddings, and `embed` no management."""
    async with keyed(tiny) as server, client(server) as http:
        assert (await http.post("/embeddings", json=BODY, headers=bearer(ADMIN))).status_code == 403
        cleared = await http.post("/embeddings/cache/clear", headers=bearer(ADMIN))
        assert cleared.status_code == 200
