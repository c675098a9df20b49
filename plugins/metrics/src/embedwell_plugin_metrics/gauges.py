"""What is so at the moment of a scrape, from the server's status."""

from collections import Counter
from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric

from embedwell import Status

STATES = ("loading", "ready", "draining", "failed")
LOADED = ("ready", "draining")


def families(status: Status, ready: bool, label: Callable[[str], str]) -> Iterator[Metric]:
    """Models that are not loaded have no bytes and no leases; `label` bounds their names."""
    yield from _server(status, ready)
    yield from _queue(status)
    yield from _models(status, label)
    yield from _device(status)


def _server(status: Status, ready: bool) -> Iterator[Metric]:
    info = status.info
    build = {
        "version": info.version,
        "device": info.device,
        "dtype": info.dtype,
        "strategy": info.strategy,
        "torch": info.libraries.get("torch", ""),
        "python": info.libraries.get("python", ""),
    }
    yield InfoMetricFamily("embedwell_build", "What runs here.", value=build)
    yield GaugeMetricFamily("embedwell_ready", "Whether /ready says so.", value=float(ready))
    yield GaugeMetricFamily(
        "embedwell_http_requests_in_flight",
        "HTTP requests under way, this scrape among them.",
        value=status.requests,
    )


def _queue(status: Status) -> Iterator[Metric]:
    queue = status.queue
    yield GaugeMetricFamily(
        "embedwell_queue_tokens",
        "Tokens that were accepted and are not answered, those of models that load included.",
        value=queue.tokens,
    )
    yield GaugeMetricFamily(
        "embedwell_queue_inputs", "Inputs that wait or are computed.", value=queue.inputs
    )
    yield GaugeMetricFamily(
        "embedwell_queue_requests",
        "Embedding calls that wait or are computed.",
        value=queue.requests,
    )
    yield GaugeMetricFamily(
        "embedwell_queue_oldest_age_seconds",
        "Since when the oldest of these calls is there; 0 where there is none.",
        value=queue.oldest_seconds,
    )


def _models(status: Status, label: Callable[[str], str]) -> Iterator[Metric]:
    residents = status.cache.models
    states = Counter(str(model.state) for model in residents)
    loaded = [(label(model.tag), model) for model in residents if model.state in LOADED]
    sizes, leases = Counter[str](), Counter[str]()
    for name, model in loaded:
        sizes[name] += model.bytes
        leases[name] += model.leases
    yield _by("embedwell_models", "Models in the cache.", "state", {s: states[s] for s in STATES})
    yield _by(
        "embedwell_model_resident_bytes", "Bytes of a loaded model, as measured.", "model", sizes
    )
    yield _by(
        "embedwell_model_leases", "Requests and batches that hold a loaded model.", "model", leases
    )
    counters = status.cache.counters
    yield CounterMetricFamily(
        "embedwell_model_cache_hits_total", "Calls that found their model loaded.", counters.hits
    )
    yield CounterMetricFamily(
        "embedwell_model_cache_misses_total",
        "Calls that waited for their model.",
        counters.misses,
    )


def _device(status: Status) -> Iterator[Metric]:
    memory = status.cache.memory
    for name, text, value in (
        ("size", "All memory of the device.", memory.total),
        ("used", "Used memory of the device, by whomever.", memory.used),
        ("free", "Free memory of the device.", memory.free),
        ("reserved", "Memory set aside for models and the largest batches.", memory.reserved),
    ):
        yield GaugeMetricFamily(f"embedwell_device_memory_{name}_bytes", text, value=value)


def _by(name: str, text: str, label: str, values: dict[str, int]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=(label,))
    for value, number in values.items():
        family.add_metric([value], number)
    return family
