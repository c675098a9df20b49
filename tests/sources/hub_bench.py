"""A source beside the little Hub, driven as the server does."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from embedwell import EmbedwellError, ModelKey, ModelRef, Reply, Request, RequestHead, Task
from embedwell.config.schema import Store
from embedwell.models.files import Files
from embedwell.models.holds import Holds
from embedwell.tasks.runner import TaskRunner
from embedwell.testing import FakeClock, make_model_folder, make_services
from embedwell_source_huggingface.config import Config
from embedwell_source_huggingface.source import HubSource
from tests.sources.hub import Hub, bare_user, contents

TINY = "some-owner/tiny"
REF = ModelRef(TINY)
NEWER = "f" * 40


class Bench:
    """`calls` are those of `services.changed`; the data directory is `folder`."""

    def __init__(self, tmp_path: Path, store: Store | None, disk: Files | None) -> None:
        self.hub = Hub()
        self.files = contents(make_model_folder(tmp_path / "original"))
        self.hub.add(TINY, self.files)
        self.clock = FakeClock()
        self.holds = Holds()
        self.calls: list[list[ModelKey]] = []
        self.folder = tmp_path / "data"
        made = make_services(self.folder, settings=store, holds=self.holds, files=disk)
        self.services = msgspec.structs.replace(
            made,
            folder=self.folder / "store" / "huggingface",  # within the share that is counted
            clock=self.clock,
            changed=lambda keys: self.calls.append([*keys]),
        )
        self.cache = self.services.folder / "hub"

    def make(self, **settings: Any) -> HubSource:
        values = {"endpoint": self.hub.url, "timeout": 60} | settings
        return HubSource(msgspec.convert(values, Config), self.services)

    def add(self, name: str, spaces: int) -> None:
        """One more model of (nearly) the same size."""
        config = self.files["config.json"] + b" " * spaces
        self.hub.add(name, {**self.files, "config.json": config})

    def left(self, pattern: str = "*.safetensors") -> Sequence[Path]:
        """Files of downloads."""
        return [*self.cache.rglob(pattern)]

    async def begin(self, source: HubSource, **body: Any) -> Task:
        """As the route is called."""
        (route,) = source.routes()
        assert route.body is not None
        head = RequestHead("POST", "/models/huggingface", {}, "test", "manage")
        asked = msgspec.convert(body, route.body)
        request = Request(head=head, args={}, query={}, body=asked, request_id="r", timeout=60)
        reply = await route.handler(request)
        assert isinstance(reply, Reply)
        assert isinstance(reply.body, Task)
        return reply.body

    async def pull(self, source: HubSource, **body: Any) -> Task:
        """The task when it has ended."""
        return await self.ended(await self.begin(source, **body))

    async def ended(self, task: Task) -> Task:
        with suppress(EmbedwellError):
            await self.services.tasks.result(task.id)
        return self.services.tasks.get(task.id)


async def quiet() -> None:
    """Returns when nothing runs in the background any more."""
    own = {asyncio.current_task()}
    while others := asyncio.all_tasks() - own:
        await asyncio.wait(others)


@asynccontextmanager
async def bench(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    store: Store | None = None,
    disk: Files | None = None,
) -> AsyncIterator[Bench]:
    """With a user who has no cache, no token and no switches."""
    bare_user(monkeypatch, tmp_path / "user")
    made = Bench(tmp_path, store, disk)
    try:
        yield made
    finally:
        assert isinstance(made.services.tasks, TaskRunner)
        await made.services.tasks.aclose()
        made.hub.close()
