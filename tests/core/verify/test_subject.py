"""What is verified: found as the server would find it, downloaded where it may be."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from embedwell.config.schema import Config, Server, Sources
from embedwell.errors import ModelNotFound
from embedwell.interfaces.models import ModelRef
from embedwell.interfaces.tasks import Task
from embedwell.loader.load import load
from embedwell.samples import TEXTS
from embedwell.testing import make_model_folder
from embedwell.verify.subject import Subject, find
from tests.sources.hub import Hub, bare_user, contents

TAG = "owner/tiny"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    bare_user(monkeypatch, tmp_path / "user")
    made = Hub()
    made.add(TAG, contents(make_model_folder(tmp_path / "tiny", prompts={"query": "w1 "})))
    yield made
    made.close()


async def found(hub: Hub, folder: Path, download: str, seen: list[Task] | None = None) -> Subject:
    table: dict[str, Any] = {"endpoint": hub.url, "timeout": 60, "download": download}
    config = Config(
        server=Server(data_dir=str(folder / "data")),
        sources=Sources(resolve_timeout=60, load_timeout=0.001, tables={"huggingface": table}),
    )
    watch = (seen if seen is not None else []).append
    return await find(config, load(config), ModelRef(TAG), ["w1 w2", "w3"], watch)


async def test_a_model_is_downloaded_for_as_long_as_that_takes(hub: Hub, tmp_path: Path) -> None:
    seen: list[Task] = []
    subject = await found(hub, tmp_path, "on_request", seen)
    assert subject.snapshot.key.name == TAG
    assert subject.tokens.lengths == (4, 3)
    assert len(subject.samples.lengths) == len(TEXTS)
    assert (seen[-1].kind, seen[-1].status, seen[-1].done) == ("download", "done", seen[-1].total)
    asked = len(hub.requests)
    assert await found(hub, tmp_path, "never") == subject
    assert len(hub.requests) == asked


async def test_nothing_is_downloaded_where_the_configuration_forbids_it(
    hub: Hub, tmp_path: Path
) -> None:
    with pytest.raises(ModelNotFound, match=TAG):
        await found(hub, tmp_path, "never")
    assert hub.requests == []
