"""How models come and go, and background work."""

from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from embedwell import LoadFailed, ModelEvicted, ModelLoaded, TaskFinished
from embedwell_plugin_metrics.buckets import LOAD_SECONDS
from embedwell_plugin_metrics.names import Names


class Models:
    """Seldom enough that nothing is kept ready."""

    def __init__(self, registry: CollectorRegistry, models: Names) -> None:
        counter = partial(Counter, registry=registry)
        self._models = models
        self._loaded: dict[str, set[str]] = {}  # keys by label: a model may have two revisions
        self._loads = Histogram(
            "embedwell_model_load_duration_seconds",
            "Loads that succeeded, without what they waited for.",
            ("model",),
            buckets=LOAD_SECONDS,
            registry=registry,
        )
        self._failures = counter(
            "embedwell_model_load_failures_total",
            "Loads that failed or found no room, by the error's code.",
            ("model", "code"),
        )
        self._evictions = counter(
            "embedwell_model_evictions_total",
            "Models that were unloaded: for room, memory, others, keep_alive, strategy, cleared, "
            "replaced.",
            ("model", "reason"),
        )
        self._estimate = Gauge(
            "embedwell_model_memory_estimate_ratio",
            "Measured bytes of a loaded model by those that were reserved for it.",
            ("model",),
            registry=registry,
        )
        self._tasks = counter(
            "embedwell_tasks_total", "Background work that ended.", ("kind", "status")
        )

    def loaded(self, event: ModelLoaded) -> None:
        label = self._models.label(event.model)
        self._loads.labels(label).observe(event.seconds)
        self._loaded.setdefault(label, set()).add(event.key)
        if event.estimated:
            self._estimate.labels(label).set(event.measured / event.estimated)

    def failed(self, event: LoadFailed) -> None:
        self._failures.labels(self._models.label(event.model), event.code).inc()

    def evicted(self, event: ModelEvicted) -> None:
        label = self._models.label(event.model)
        self._evictions.labels(label, event.cause).inc()
        left = self._loaded.get(label, set())
        left.discard(event.key)
        if not left:
            self._loaded.pop(label, None)
            self._estimate.remove(label)

    def task(self, event: TaskFinished) -> None:
        self._tasks.labels(event.kind, event.status).inc()
