"""Tasks and counters over HTTP."""

import asyncio
import http.client
import socket
from collections.abc import AsyncIterator

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from openapi_spec_validator import validate

from embedwell.app import App, create_app
from embedwell.errors import Forbidden, SourceError, Unauthorized
from embedwell.interfaces.models import ModelRef, Progress
from embedwell.interfaces.plugins import Caller, Plugin, RequestHead
from embedwell.interfaces.routes import Reply, Request, Route
from embedwell.interfaces.tasks import Task
from embedwell.models import tag as tags
from embedwell.transport.server import serve
from tests.core.http.fake_core import FakeCore, route
from tests.core.http.http_driver import ask, get


class Core(FakeCore):
    """With the real grammar of tags."""

    def parse_tag(self, text: str) -> ModelRef:
        return tags.parse(text)


async def forever(progress: Progress) -> None:
    progress(5, 10)
    await asyncio.Event().wait()


async def fail(progress: Progress) -> None:
    raise SourceError("The Hub is down")


@pytest.fixture
async def core() -> AsyncIterator[Core]:
    made = Core()
    yield made
    await made.tasks.aclose()


@pytest.fixture
def app(core: Core) -> App:
    return create_app(core)


async def test_a_task_on_the_wire(core: Core, app: App) -> None:
    task = core.tasks.start("download", "owner/model", forever)
    await asyncio.sleep(0)
    shown = (await get(app, f"/tasks/{task.id}")).json
    assert shown == {
        "id": task.id,
        "kind": "download",
        "key": "owner/model",
        "status": "running",
        "progress": {"done": 5, "total": 10},
        "error": None,
        "created": 1000.0,
        "finished": None,
    }
    failed = core.tasks.start("download", "owner/other", fail)
    await asyncio.gather(core.tasks.result(failed.id), return_exceptions=True)
    first, second = (await get(app, "/tasks")).json["tasks"]
    assert second == shown
    assert (first["status"], first["error"]) == ("failed", "The Hub is down")
    assert (first["progress"], first["finished"]) == ({"done": 0, "total": None}, 1000.0)


async def test_no_task_is_an_empty_list(app: App) -> None:
    assert (await get(app, "/tasks")).json == {"tasks": []}


async def test_deleting_cancels_then_forgets(core: Core, app: App) -> None:
    task = core.tasks.start("download", "owner/model", forever)
    cancelled = await ask(app, "DELETE", f"/tasks/{task.id}")
    assert (cancelled.status, cancelled.json["status"]) == (202, "cancelled")
    assert cancelled.json == (await get(app, f"/tasks/{task.id}")).json
    gone = await ask(app, "DELETE", f"/tasks/{task.id}/")
    assert (gone.status, gone.body) == (204, b"")
    assert not {"content-type", "content-length", "transfer-encoding"} & set(gone.headers)
    assert "x-request-id" in gone.headers
    again = await ask(app, "DELETE", f"/tasks/{task.id}")
    assert (again.status, again.code) == (404, "NOT_FOUND")


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_an_unknown_task(app: App, method: str) -> None:
    answer = await ask(app, method, "/tasks/nope")
    assert (answer.status, answer.code) == (404, "NOT_FOUND")
    assert answer.detail == "Task not found: nope"
    assert answer.json["error"]["code"] == "task_not_found"
    assert len((await ask(app, method, f"/tasks/{'x' * 900}")).detail) < 200


@pytest.mark.parametrize("path", ["/v1/tasks", "/v1/embeddings/counter/a"])
async def test_none_of_it_is_below_v1(app: App, path: str) -> None:
    assert (await get(app, path)).status == 404


@pytest.mark.parametrize(
    "tag",
    ["owner/model", "owner%2Fmodel", "owner/model@main", "upload:owner/model@v/1", "alias", "alias@x"],
)  # fmt: skip
async def test_days_of_a_tag_however_it_is_written(core: Core, app: App, tag: str) -> None:
    core.aliases["alias"] = "owner/model"
    core.counters.found["owner/model"] = {"2026-03-01": 2, "2026-03-02": 0}
    answer = await get(app, f"/embeddings/counter/{tag}")
    assert answer.status == 200
    assert answer.body == b'{"2026-03-01":2,"2026-03-02":0}'


async def test_a_tag_never_seen(app: App) -> None:
    answer = await get(app, "/embeddings/counter/owner/other@main")
    assert (answer.status, answer.code) == (404, "NOT_FOUND")
    assert answer.detail == "Model not found: owner/other; GET /models lists those at hand"
    assert answer.json["error"]["code"] == "model_not_found"
    assert (await get(app, "/embeddings/counter/a%20b")).status == 422
    assert (await get(app, "/embeddings/counter")).status == 404


async def test_a_task_of_a_plugin_looks_as_everybodys() -> None:
    task = Task(id="1", kind="import", key="owner/model", status="queued", created=1.0)

    async def start(request: Request) -> Reply:
        return Reply(status=202, body=task, headers={"location": f"/tasks/{task.id}"})

    import_ = Route(
        method="POST", path="/import", handler=start, access="manage", summary="", replies={202: Task}
    )  # fmt: skip
    core = FakeCore(import_)
    app = create_app(core)
    answer = await ask(app, "POST", "/import")
    assert (answer.status, answer.headers["location"]) == (202, "/tasks/1")
    assert answer.json["progress"] == {"done": 0, "total": None}
    document = (await get(app, "/openapi.json")).json
    validate(document)
    declared = document["paths"]["/import"]["post"]["responses"]["202"]["content"]
    schema = declared["application/json"]["schema"]
    assert schema == {"$ref": "#/components/schemas/TaskBody"}
    parts = {"components": document["components"]}
    Draft202012Validator({**schema, **parts}).validate(answer.json)
    assert "Task" not in document["components"]["schemas"]


async def test_what_is_declared_is_what_comes(core: Core, app: App) -> None:
    core.tasks.start("download", "a", forever)
    core.counters.found["a"] = {"2026-03-01": 2}
    document = (await get(app, "/openapi.json")).json
    validate(document)
    parts = {"components": document["components"]}
    for path, asked in (
        ("/tasks", "/tasks"),
        ("/embeddings/counter/{tag}", "/embeddings/counter/a"),
    ):
        declared = document["paths"][path]["get"]["responses"]["200"]["content"]
        schema = {**declared["application/json"]["schema"], **parts}
        Draft202012Validator(schema).validate((await get(app, asked)).json)
    deleted = document["paths"]["/tasks/{id}"]["delete"]["responses"]
    assert "content" not in deleted["204"]
    assert {"202", "404", "409"} <= set(deleted)


class Keys(Plugin):
    async def guard(self, head: RequestHead) -> Caller | None:
        if not head.headers.get(b"authorization"):
            raise Unauthorized("A key is needed")
        if head.access == "manage":
            raise Forbidden("This key may not manage")
        return Caller("user")


async def test_access(core: Core) -> None:
    core.plugins.append(("keys", Keys(None, None)))  # type: ignore[arg-type]
    app = create_app(core)
    core.counters.found["a"] = {}
    for method, path in (("GET", "/tasks"), ("GET", "/tasks/1"), ("DELETE", "/tasks/1")):
        assert (await ask(app, method, path)).status == 401
        assert (await ask(app, method, path, headers={"authorization": "Bearer x"})).status == 403
    assert (await get(app, "/embeddings/counter/a")).status == 401
    assert (await get(app, "/embeddings/counter/a", authorization="Bearer x")).status == 200


async def test_a_connection_goes_on_after_an_answer_without_body(core: Core, app: App) -> None:
    task = core.tasks.start("download", "owner/model", fail)
    await asyncio.gather(core.tasks.result(task.id), return_exceptions=True)
    listener, stop = socket.create_server(("127.0.0.1", 0)), asyncio.Event()
    port = listener.getsockname()[1]
    serving = asyncio.create_task(serve(app, listener, stop))

    def talk() -> list[tuple[int, bytes]]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        answers = []
        for method, path in (("DELETE", f"/tasks/{task.id}"), ("GET", "/tasks")):
            connection.request(method, path)
            answer = connection.getresponse()
            answers.append((answer.status, answer.read()))
            assert not answer.will_close
        connection.close()
        return answers

    assert await asyncio.to_thread(talk) == [(204, b""), (200, b'{"tasks":[]}')]
    stop.set()
    await serving


async def test_any_route_may_answer_204() -> None:
    async def nothing(request: Request) -> Reply:
        return Reply(status=204, body=None, headers={"x-why": "done"})

    answer = await get(create_app(FakeCore(route(nothing))), "/test")
    assert (answer.status, answer.body, answer.headers["x-why"]) == (204, b"", "done")


async def test_a_preload_answers_with_its_task(app: App) -> None:
    body = b'{"models": ["owner/model"]}'
    headers = {"content-type": "application/json"}
    answer = await ask(app, "POST", "/embeddings/preload", body=body, headers=headers)
    assert (answer.status, answer.headers["location"]) == (202, "/tasks/1")
    assert answer.json["task"]["progress"] == {"done": 0, "total": None}
    assert answer.json["models"] == [{"model": "owner/model", "status": "queued"}]
