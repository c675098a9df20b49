"""Downloads ahead of use, branches that move, and models of the Hub that are deleted."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from embedwell import (
    EmbedwellError,
    Forbidden,
    Invalid,
    ModelKey,
    ModelNotFound,
    ModelRef,
    Reply,
    Request,
    RequestHead,
    Snapshot,
    SourceError,
    Task,
)
from embedwell.interfaces.services import BaseServices
from embedwell.tasks.runner import TaskRunner
from embedwell.testing import FakeClock, make_model_folder, make_services
from embedwell_source_huggingface.config import Config
from embedwell_source_huggingface.source import HubSource
from tests.sources.hub import COMMIT, SIGNATURE, Hub, bare_user, contents

TINY = "some-owner/tiny"
REF = ModelRef(TINY)
NEWER = "f" * 40
Make = Callable[..., HubSource]


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bare_user(monkeypatch, tmp_path / "user")


@pytest.fixture
def files(tmp_path: Path) -> dict[str, bytes]:
    return contents(make_model_folder(tmp_path / "original"))


@pytest.fixture
def hub(files: dict[str, bytes]) -> Iterator[Hub]:
    made = Hub()
    made.add(TINY, files)
    yield made
    made.close()


@pytest.fixture
def changes() -> list[ModelKey]:
    return []


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def services(
    tmp_path: Path, changes: list[ModelKey], clock: FakeClock
) -> AsyncIterator[BaseServices]:
    made = make_services(tmp_path / "own", changed=changes)
    yield msgspec.structs.replace(made, clock=clock)
    assert isinstance(made.tasks, TaskRunner)
    await made.tasks.aclose()


@pytest.fixture
async def make(hub: Hub, services: BaseServices) -> Make:
    def build(**settings: Any) -> HubSource:
        values = {"endpoint": hub.url, "timeout": 60} | settings
        return HubSource(msgspec.convert(values, Config), services)

    return build


async def pull(source: HubSource, **body: Any) -> Task:
    """As the route is called; the task when it has ended."""
    (route,) = source.routes()
    assert route.body is not None
    head = RequestHead("POST", "/models/huggingface", {}, "test", "manage")
    request = Request(
        head=head,
        args={},
        query={},
        body=msgspec.convert(body, route.body),
        request_id="r",
        timeout=60,
    )
    reply = await route.handler(request)
    assert isinstance(reply, Reply)
    assert reply.status == 202
    assert reply.headers["location"] == f"/tasks/{reply.body.id}"
    with suppress(EmbedwellError):
        await source.services.tasks.result(reply.body.id)
    return source.services.tasks.get(reply.body.id)


async def test_a_model_is_downloaded_ahead_of_use(hub: Hub, make: Make) -> None:
    source = make()
    task = await pull(source, model=TINY)
    assert (task.status, task.kind) == ("done", "download")
    assert task.done == task.total
    found = await make(offline=True).resolve(REF)
    assert isinstance(found, Snapshot)
    assert found.key.revision == COMMIT


async def test_a_branch_is_refreshed_and_the_earlier_commit_let_go(
    hub: Hub, make: Make, changes: list[ModelKey]
) -> None:
    source = make()
    await pull(source, model=TINY)
    hub.repos[TINY].commit = NEWER
    stays = await source.resolve(REF)
    assert isinstance(stays, Snapshot)
    assert stays.key.revision == COMMIT
    changes.clear()
    assert (await pull(source, model=TINY)).status == "done"
    for later in (source, make(offline=True)):
        moved = await later.resolve(REF)
        assert isinstance(moved, Snapshot)
        assert moved.key.revision == NEWER
    assert changes == [ModelKey("huggingface", TINY, COMMIT)]


async def test_a_commit_that_is_here_is_named_again_without_a_download(
    hub: Hub, make: Make
) -> None:
    source = make()
    await pull(source, model=TINY)
    hub.repos[TINY].commit = NEWER
    await pull(source, model=TINY)
    hub.repos[TINY].commit = COMMIT
    hub.requests.clear()
    assert (await pull(source, model=TINY)).status == "done"
    assert hub.fetched() == set()
    found = await make(offline=True).resolve(REF)
    assert isinstance(found, Snapshot)
    assert found.key.revision == COMMIT


async def test_a_branch_is_looked_up_anew_after_a_while(
    hub: Hub, make: Make, clock: FakeClock
) -> None:
    source = make(refresh_seconds=60)
    await pull(source, model=TINY)
    hub.repos[TINY].commit = NEWER
    clock.now += 59
    await source.resolve(REF)
    assert not [t for t in source.services.tasks.list() if t.kind == "refresh"]
    clock.now += 2
    stays = await source.resolve(REF)
    assert isinstance(stays, Snapshot), "nobody waits for the answer"
    assert stays.key.revision == COMMIT
    (refresh,) = [t for t in source.services.tasks.list() if t.kind == "refresh"]
    await source.services.tasks.result(refresh.id)
    moved = await source.resolve(REF)
    assert isinstance(moved, Snapshot)
    assert moved.key.revision == NEWER


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"model": "no-owner"}, "model"),
        ({"model": "a/b/c"}, "model"),
        ({"model": "https://example.com/a"}, "model"),
        ({"model": "../b"}, "model"),
        ({"model": TINY, "revision": "../.."}, "revision"),
        ({"model": TINY, "revision": "-rf"}, "revision"),
    ],
)
async def test_what_is_no_name_of_the_hub_is_not_asked_for(
    hub: Hub, make: Make, body: dict[str, str], field: str
) -> None:
    with pytest.raises(Invalid) as error:
        await pull(make(), **body)
    assert error.value.param == field
    assert hub.requests == []


async def test_a_model_that_the_hub_does_not_have(make: Make) -> None:
    with pytest.raises(ModelNotFound, match="nobody/nothing"):
        await pull(make(), model="nobody/nothing")


async def test_what_to_check_where_the_hub_is_not_reached(make: Make) -> None:
    with pytest.raises(SourceError) as error:
        await pull(make(endpoint="http://127.0.0.1:9"), model=TINY)
    assert error.value.message == (
        f"The Hugging Face Hub could not be reached for {TINY}: "
        "check the server's network, HTTPS_PROXY and HF_ENDPOINT"
    )


OFFLINE = "this server is offline (offline in [sources.huggingface], or HF_HUB_OFFLINE)"


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"download": "never"}, "see download in [sources.huggingface]"),
        ({"download": "never", "allow": ["*"]}, "see download in [sources.huggingface]"),
        ({"download": "allowlist", "allow": ["o/*"]}, "see allow in [sources.huggingface]"),
        ({"offline": True}, OFFLINE),
        ({"offline": True, "download": "never"}, OFFLINE),
    ],
)
async def test_a_download_must_be_allowed(
    hub: Hub, make: Make, settings: dict[str, Any], why: str
) -> None:
    with pytest.raises(Forbidden) as error:
        await pull(make(**settings), model=TINY)
    assert error.value.message == f"{TINY} may not be downloaded: {why}"
    assert hub.requests == []


@pytest.mark.parametrize("switch", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
async def test_the_environments_switch_is_told_too(
    make: Make, monkeypatch: pytest.MonkeyPatch, switch: str
) -> None:
    monkeypatch.setenv(switch, "1")
    with pytest.raises(Forbidden, match="this server is offline"):
        await pull(make(), model=TINY)


@pytest.mark.parametrize(
    ("status", "why"), [(403, "refused access .* .403."), (429, "answered 429"), (500, "500")]
)
async def test_a_hub_that_refuses_is_quoted(hub: Hub, make: Make, status: int, why: str) -> None:
    hub.status = status
    with pytest.raises(SourceError, match=why):
        await pull(make(), model=TINY)


async def test_files_from_elsewhere_get_no_token_and_must_have_the_right_hash(
    hub: Hub, make: Make, files: dict[str, bytes]
) -> None:
    other = Hub()
    other.add(TINY, {**files, "model.safetensors": files["model.safetensors"][:-1] + b"?"})
    try:
        hub.elsewhere = other.url.replace("127.0.0.1", "localhost")
        task = await pull(make(token="hf_secret"), model=TINY)
        assert task.status == "failed"
        assert "arrived damaged" in str(task.error)
        assert other.requests
        assert all(not authorization for _, _, authorization in other.requests)
        hub.elsewhere = ""
        assert (await pull(make(token="hf_secret"), model=TINY)).status == "done"
    finally:
        other.close()


async def test_a_signed_address_is_not_logged(
    hub: Hub, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    other = Hub()
    other.status = 403
    try:
        hub.elsewhere = other.url
        assert "refused access" in str((await pull(make(), model=TINY)).error)
    finally:
        other.close()
    assert f"{other.url}/{TINY}/resolve" in caplog.text
    assert SIGNATURE not in caplog.text
