"""The source: models that were fetched stay in the store; only POST /models/github asks GitHub."""

import asyncio
import os
import ssl
from collections import Counter
from collections.abc import Sequence
from functools import partial

import httpcore

from embedwell import (
    BaseServices,
    Conflict,
    ModelRef,
    Overloaded,
    Progress,
    Reply,
    Request,
    Route,
    Snapshot,
    Source,
    SourceError,
    Task,
)
from embedwell_source_github.client import Client
from embedwell_source_github.config import Config, access
from embedwell_source_github.failures import PAUSES
from embedwell_source_github.hosts import Hosts, Resolve, system_resolver
from embedwell_source_github.importing import SOURCE, Import
from embedwell_source_github.meter import Meter
from embedwell_source_github.names import Body, Wanted, wanted

WAITING = 100  # imports at once, those that wait for their turn included


class GitHubSource(Source):
    """`resolve` and `pauses` (seconds before further attempts) are for tests."""

    def __init__(
        self,
        config: Config,
        services: BaseServices,
        *,
        resolve: Resolve = system_resolver,
        pauses: Sequence[float] = PAUSES,
    ) -> None:
        super().__init__(config, services)
        self._config = config
        self._access = access(config, os.environ)
        self._hosts = Hosts(self._access.own)
        self._resolve = resolve
        self._pauses = pauses
        self._slots = asyncio.Semaphore(config.max_concurrent)
        self._under_way: Counter[str] = Counter()  # names
        self._tls: ssl.SSLContext | None = None

    async def resolve(self, ref: ModelRef) -> Snapshot | None:
        """From the store alone."""
        return await self.services.store.find(SOURCE, ref)

    async def models(self) -> Sequence[Snapshot]:
        """What has been fetched."""
        return await self.services.store.models(SOURCE)

    async def delete(self, ref: ModelRef) -> None:
        """Forget it; raises ModelNotFound, Conflict while it is being fetched."""
        if ref.name in self._under_way:
            raise Conflict(f"{ref.name} is being fetched; cancel the task first", param="model")
        await self.services.store.remove(SOURCE, ref)

    def routes(self) -> Sequence[Route]:
        """The one way in."""
        return [
            Route(
                method="POST",
                path="/models/github",
                handler=self._accept,
                access="manage",
                summary="Fetch a model from a GitHub repository, in the background",
                body=Body,
                replies={202: Task},
                headers={"location": "The path of the task"},
            )
        ]

    async def _accept(self, request: Request) -> Reply:
        asked = wanted(request.body)
        if self._under_way.total() >= WAITING:
            raise Overloaded(f"{WAITING} imports from GitHub are under way", retry_after=60)
        task = self.services.tasks.start(SOURCE, asked.key, partial(self._import, asked))
        return Reply(status=202, body=task, headers={"Location": f"/tasks/{task.id}"})

    async def _import(self, asked: Wanted, progress: Progress) -> Snapshot:
        self._under_way[asked.name] += 1
        try:
            async with self._slots:
                progress(0, None)
                return await self._in_time(asked, progress)
        finally:
            self._under_way -= Counter([asked.name])  # keeps no zero

    async def _in_time(self, asked: Wanted, progress: Progress) -> Snapshot:
        limit = asyncio.timeout(self._config.deadline_seconds)
        try:
            async with limit:
                return await self._run(asked, progress)
        except TimeoutError:
            if not limit.expired():
                raise
            raise SourceError(f"The import of {asked} did not finish in time") from None

    async def _run(self, asked: Wanted, progress: Progress) -> Snapshot:
        meter = Meter(int(self._config.max_size_gb * 1e9), progress)
        async with await self._client() as client:
            work = Import(
                asked,
                services=self.services,
                access=self._access,
                client=client,
                meter=meter,
                pauses=self._pauses,
            )
            return await work.run()

    async def _client(self) -> Client:
        if self._tls is None:
            self._tls = await self.services.threads.run(httpcore.default_ssl_context)
        return Client(
            self._hosts,
            self._resolve,
            tls=self._tls,
            stall=self._config.stall_seconds,
            clock=self.services.clock,
        )
