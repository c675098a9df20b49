"""Errors: one envelope, one table, and nothing else whatever is raised."""

import inspect

import pytest

from embedwell import errors
from embedwell.errors import (
    Conflict,
    EmbedwellError,
    InvalidModel,
    Loading,
    ModelError,
    ModelNotFound,
    OutOfMemory,
    Overloaded,
    ReadOnly,
    SourceError,
    TaskNotFound,
)
from embedwell.http import envelope
from embedwell.http.asgi import Receive, Scope, Send
from embedwell.interfaces.routes import Mount, Reply, Request
from tests.core.http.fake_core import app_of, raising, route
from tests.core.http.http_driver import get


class DiskFull(EmbedwellError):
    code = "INSUFFICIENT_STORAGE"
    kind = "disk_full"


@pytest.mark.parametrize(
    ("error", "status", "v1", "kind"),
    [
        (InvalidModel("no"), 422, 400, "invalid_model"),
        (ModelNotFound("x"), 404, 404, "model_not_found"),
        (TaskNotFound("x"), 404, 404, "task_not_found"),
        (Conflict("x"), 409, 409, "conflict"),
        (ReadOnly("x"), 409, 409, "read_only"),
        (ModelError("x"), 500, 500, "model_error"),
        (SourceError("x"), 502, 502, "source_error"),
        (DiskFull("x"), 507, 507, "disk_full"),
    ],
)
async def test_status_by_error_and_path(
    error: EmbedwellError, status: int, v1: int, kind: str
) -> None:
    app = app_of(route(raising(error)), route(raising(error), path="/v1/test"))
    root, below = await get(app, "/test"), await get(app, "/v1/test")
    assert (root.status, below.status) == (status, v1)
    assert root.code == error.code
    assert root.json["error"]["code"] == kind


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OutOfMemory("Model loading failed: x"), {"x-should-retry": "false"}),
        (OutOfMemory("x", retry_after=0.2), {"retry-after": "1", "retry-after-ms": "200"}),
        (Overloaded("x"), {"retry-after": "1", "retry-after-ms": "1000"}),
        (Loading("x"), {"retry-after": "5", "retry-after-ms": "5000"}),
        (Loading("x", retry_after=61.2), {"retry-after": "62", "retry-after-ms": "61200"}),
        (Loading("x", retry_after=float("inf")), {}),
        (SourceError("x"), {}),
        (ModelError("x"), {"x-should-retry": "false"}),
        (ReadOnly("x"), {"x-should-retry": "false"}),
        (ModelNotFound("x"), {}),
    ],
)
async def test_retry_headers(error: EmbedwellError, expected: dict[str, str]) -> None:
    answer = await get(app_of(route(raising(error))), "/test")
    names = {"retry-after", "retry-after-ms", "x-should-retry"}
    assert {n: v for n, v in answer.headers.items() if n in names} == expected


@pytest.mark.parametrize(
    "error",
    [
        ValueError("/etc/secret"),
        KeyboardInterrupt(),
        SystemExit(3),
        EmbedwellError("/etc/secret"),
        errors.PluginError("/etc/secret"),
    ],
)
async def test_a_bug_tells_the_request_id_and_nothing_else(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await get(app_of(route(raising(error))), "/test", x_request_id="r-9")
    assert (answer.status, answer.code) == (500, "INTERNAL")
    assert answer.detail == "Internal error; the server's log has more under request id r-9"
    assert "request r-9 failed" in caplog.text
    assert "Traceback" in caplog.text


async def test_replies_that_cannot_be_sent_are_bugs() -> None:
    async def unencodable(request: Request) -> Reply:
        return Reply(body=object())

    async def splitting(request: Request) -> Reply:
        return Reply(body="x", headers={"x": "a\r\nb"})

    for handler in (unencodable, splitting):
        assert (await get(app_of(route(handler)), "/test")).code == "INTERNAL"


async def test_an_application_that_never_answers_is_a_bug() -> None:
    async def silent(scope: Scope, receive: Receive, send: Send) -> None:
        return

    app = app_of(Mount(prefix="/m", app=silent, access="manage"))
    assert (await get(app, "/m")).code == "INTERNAL"


async def test_an_answer_that_breaks_off_ends_the_connection() -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise SystemExit

    app = app_of(Mount(prefix="/m", app=broken, access="manage"))
    with pytest.raises(RuntimeError, match="broke off"):
        await get(app, "/m")


async def test_messages_are_encodable_and_bounded() -> None:
    error = ModelError("\ud800" + "x" * 10_000)
    answer = await get(app_of(route(raising(error))), "/test")
    assert answer.detail.startswith("?xxx")
    assert len(answer.detail) == envelope.MAX_MESSAGE


def test_every_error_a_client_can_meet_is_in_the_table() -> None:
    startup = {errors.ConfigurationError, errors.PluginError, EmbedwellError}
    classes = [
        c
        for c in vars(errors).values()
        if inspect.isclass(c) and issubclass(c, EmbedwellError) and c not in startup
    ]
    assert len(classes) > 20
    assert all(c.kind in envelope.TABLE or c.code in envelope.TABLE for c in classes)
