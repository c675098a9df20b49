"""HTTP requests: by route, method and class of status."""

from prometheus_client import CollectorRegistry, Counter, Histogram

from embedwell import RequestFinished
from embedwell_plugin_metrics.buckets import SECONDS
from embedwell_plugin_metrics.names import OTHER

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
UNMATCHED = "unmatched"


class HttpRequests:
    """Every request of the server, scrapes included."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._total = Counter(
            "embedwell_http_requests_total",
            "HTTP requests that ended, by the route's pattern.",
            ("route", "method", "status"),
            registry=registry,
        )
        self._seconds = Histogram(
            "embedwell_http_request_duration_seconds",
            "From a request's first byte to the end of its answer.",
            ("route", "method"),
            buckets=SECONDS,
            registry=registry,
        )
        self._made: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def observe(self, event: RequestFinished) -> None:
        key = (event.route, event.method, event.status // 100)
        total, seconds = self._made.get(key) or self._make(key)
        total.inc()
        seconds.observe(event.seconds)

    def _make(self, key: tuple[str, str, int]) -> tuple[Counter, Histogram]:
        """A client can make up methods: those that nobody knows are not remembered one by one."""
        route, method, status = key
        label = method if method in METHODS else OTHER
        named = (route or UNMATCHED, label)
        made = self._total.labels(*named, f"{status}xx"), self._seconds.labels(*named)
        if label == method:
            self._made[key] = made
        return made
