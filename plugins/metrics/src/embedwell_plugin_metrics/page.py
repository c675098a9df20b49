"""The page that a scraper reads."""

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.openmetrics import exposition as openmetrics

TEXT = "text/plain; version=0.0.4; charset=utf-8"


class Page:
    """Metrics of a registry and of this moment; without `_created`, which doubles the series."""

    def __init__(self, registry: CollectorRegistry, moment: Iterable[Metric]) -> None:
        self._registry = registry
        self._moment = moment

    def collect(self) -> Iterator[Metric]:
        yield from self._moment
        for metric in self._registry.collect():
            metric.samples = [s for s in metric.samples if not s.name.endswith("_created")]
            yield metric

    def render(self, accept: bytes) -> tuple[bytes, str]:
        """The page and its content type: OpenMetrics for who accepts it; blocks, in any thread."""
        if b"application/openmetrics-text" in accept:
            return openmetrics.generate_latest(self), openmetrics.CONTENT_TYPE_LATEST
        return generate_latest(self), TEXT
