"""Drives the GitHub source as the server does: a route's handler, then tasks."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from embedwell import BaseServices, Reply, Request, RequestHead, Snapshot, Task
from embedwell.config.schema import Store
from embedwell.models.files import Files
from embedwell.models.validation import validate
from embedwell.tasks.runner import TaskRunner
from embedwell.testing import make_model_folder, make_services
from embedwell_source_github.config import Config
from embedwell_source_github.hosts import Resolve, system_resolver
from embedwell_source_github.names import Body
from embedwell_source_github.source import GitHubSource
from tests.sources.github_server import GitHub

TINY = "some-owner/tiny"


class Driver:
    """A source with real services; imports are asked for with `post`."""

    def __init__(self, source: GitHubSource, services: BaseServices, folder: Path) -> None:
        self.source = source
        self.services = services
        self.folder = folder

    async def post(self, **body: Any) -> Reply:
        (route,) = self.source.routes()
        head = RequestHead("POST", "/models/github", {}, "127.0.0.1", "manage")
        return await route.handler(
            Request(
                head=head,
                args={},
                query={},
                body=msgspec.convert(body, Body),
                request_id="test",
                timeout=60.0,
            )
        )

    async def start(self, **body: Any) -> Task:
        reply = await self.post(**body)
        assert reply.status == 202
        task = reply.body
        assert isinstance(task, Task)
        assert reply.headers == {"Location": f"/tasks/{task.id}"}
        return task

    async def bring(self, **body: Any) -> Snapshot:
        """Ask for it and wait; what the task raises is raised."""
        task = await self.start(**body or {"repository": TINY})
        try:
            snapshot = await self.services.tasks.result(task.id)
        finally:
            assert self.staged() == []
        assert isinstance(snapshot, Snapshot)
        return snapshot

    async def error(self, **body: Any) -> str:
        """What the task that failed says to clients; nothing of it is left."""
        task = await self.start(**body or {"repository": TINY})
        try:
            await self.services.tasks.result(task.id)
        except Exception:
            ended = self.services.tasks.get(task.id)
            assert ended.status == "failed"
            assert self.staged() == []
            assert await self.source.models() == []
            return str(ended.error)
        raise AssertionError("the import succeeded")

    def staged(self) -> list[str]:
        return [path.name for path in (self.folder / "store" / "staging").iterdir()]


@asynccontextmanager
async def driving(
    folder: Path,
    github: GitHub,
    *,
    resolve: Resolve = system_resolver,
    files: Files | None = None,
    store: Store | None = None,
    check: Callable[[Path], Awaitable[None]] | None = None,
    clock: Callable[[], float] = time.monotonic,
    **settings: Any,
) -> AsyncIterator[Driver]:
    """Settings as TOML has them; further attempts come at once."""
    values = {"api_url": github.api, "web_url": github.web, **settings}
    services = msgspec.structs.replace(
        make_services(folder, files=files, settings=store, check=check or in_a_thread), clock=clock
    )
    config = msgspec.convert(values, Config)
    source = GitHubSource(config, services, resolve=resolve, pauses=(0, 0))
    try:
        yield Driver(source, services, folder)
    finally:
        assert isinstance(services.tasks, TaskRunner)
        await services.tasks.aclose()


async def in_a_thread(folder: Path) -> None:
    """What a server checks in a process of its own, which takes longer to start than the rest."""
    await asyncio.to_thread(validate, folder)


def model(folder: Path, **options: Any) -> dict[str, bytes]:
    """A small model's files."""
    made = make_model_folder(folder, **options)
    files = [path for path in made.rglob("*") if path.is_file()]
    return {path.relative_to(made).as_posix(): path.read_bytes() for path in files}
