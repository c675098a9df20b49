"""The plugin: events to metrics, and the route that shows them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
)

from embedwell import (
    BatchRun,
    Embedded,
    Event,
    LoadFailed,
    ModelEvicted,
    ModelLoaded,
    Plugin,
    Reply,
    Request,
    RequestFinished,
    Route,
    Services,
    TaskFinished,
    WorkerReplaced,
)
from embedwell_plugin_metrics.batches import Batches
from embedwell_plugin_metrics.config import Config
from embedwell_plugin_metrics.embeddings import EmbeddingRequests
from embedwell_plugin_metrics.gauges import families
from embedwell_plugin_metrics.http import HttpRequests
from embedwell_plugin_metrics.models import Models
from embedwell_plugin_metrics.names import Names
from embedwell_plugin_metrics.page import TEXT, Page


class Metrics(Plugin):
    """One app's metrics: its registry is its own, so that several apps may share a process."""

    def __init__(self, config: Config, services: Services) -> None:
        super().__init__(config, services)
        self._models = Names(config.max_models)
        self._registry = CollectorRegistry()
        for collector in (ProcessCollector, GCCollector, PlatformCollector):
            collector(registry=self._registry)
        self._observers = self._by_event(Names(config.max_callers))

    def _by_event(self, callers: Names) -> Mapping[type[Event], Callable[[Any], None]]:
        registry = self._registry
        batches, models = Batches(registry, self._models), Models(registry, self._models)
        return {
            RequestFinished: HttpRequests(registry).observe,
            Embedded: EmbeddingRequests(registry, self._models, callers).observe,
            BatchRun: batches.observe,
            WorkerReplaced: batches.replaced,
            ModelLoaded: models.loaded,
            LoadFailed: models.failed,
            ModelEvicted: models.evicted,
            TaskFinished: models.task,
        }

    def observe(self, event: Event) -> None:
        """On the loop for every event: a few microseconds."""
        observer = self._observers.get(type(event))
        if observer is not None:
            observer(event)

    def routes(self) -> Sequence[Route]:
        """`GET /metrics`."""
        return [
            Route(
                method="GET",
                path="/metrics",
                handler=self._show,
                access="metrics",
                summary="Metrics for Prometheus, as text or OpenMetrics",
                replies={200: TEXT.partition(";")[0]},
            )
        ]

    async def _show(self, request: Request) -> Reply:
        readiness = await self.services.ready()
        moment = [*families(self.services.status(), readiness.ready, self._models.label)]
        page = Page(self._registry, moment)
        accept = request.head.headers.get(b"accept", b"")
        body, kind = await self.services.threads.run(page.render, accept)
        return Reply(body=body, content_type=kind)
