"""Embedding calls: by model, and by caller where a plugin names them."""

from functools import partial
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Histogram

from embedwell import Embedded
from embedwell_plugin_metrics.buckets import SECONDS
from embedwell_plugin_metrics.names import ByName, Names

OK = "ok"
UNKNOWN = "unknown"  # the label of models that no source has
SIZES = (  # in the order of _Sizes; so it is below
    ("embedwell_inputs_total", "Inputs that were answered."),
    ("embedwell_prompt_tokens_total", "Tokens of answered calls, as in usage."),
    ("embedwell_truncated_inputs_total", "Answered inputs that were cut."),
)
TIMES = (
    (
        "embedwell_request_queue_duration_seconds",
        "From ids to the first batch, waiting for a load included; answered calls.",
    ),
    (
        "embedwell_request_tokenization_duration_seconds",
        "From inputs to checked ids; answered calls.",
    ),
    (
        "embedwell_request_inference_duration_seconds",
        "From the first batch to the finished rows; answered calls.",
    ),
    ("embedwell_request_duration_seconds", "Whole embedding calls, without HTTP; answered calls."),
)
CALLERS = (
    ("embedwell_caller_requests_total", "Embedding calls that ended, by caller."),
    ("embedwell_caller_prompt_tokens_total", "Tokens of answered calls, by caller."),
)


class _Sizes(NamedTuple):
    inputs: Counter
    tokens: Counter
    truncated: Counter


class _Times(NamedTuple):
    queue: Histogram
    tokenization: Histogram
    inference: Histogram
    total: Histogram


class _Model(NamedTuple):
    """One model's series."""

    label: str
    answered: Counter
    sizes: _Sizes
    times: _Times

    def add(self, event: Embedded) -> None:
        """An answered call."""
        self.answered.inc()
        sizes, times = self.sizes, self.times
        sizes.inputs.inc(event.inputs)
        sizes.tokens.inc(event.tokens)
        if event.truncated:
            sizes.truncated.inc(event.truncated)
        times.queue.observe(event.queue_seconds)
        times.tokenization.observe(event.tokenize_seconds)
        times.inference.observe(event.inference_seconds)
        times.total.observe(event.seconds)


class _Caller(NamedTuple):
    """One caller's series."""

    requests: Counter
    tokens: Counter


class EmbeddingRequests:
    """Sizes and times are those of calls that were answered, as `usage` has them."""

    def __init__(self, registry: CollectorRegistry, models: Names, callers: Names) -> None:
        counter = partial(Counter, registry=registry)
        seconds = partial(Histogram, registry=registry, buckets=SECONDS)
        self._requests = counter(
            "embedwell_requests_total",
            "Embedding calls that ended; outcome is ok, cancelled or an error's code.",
            ("model", "outcome"),
        )
        self._sizes = [counter(*described, ("model",)) for described in SIZES]
        self._times = [seconds(*described, ("model",)) for described in TIMES]
        self._of_callers = [counter(*described, ("caller",)) for described in CALLERS]
        self._models = ByName(models, self._of_model)
        self._callers = ByName(callers, self._of_caller)

    def observe(self, event: Embedded) -> None:
        if event.outcome == OK:
            self._models.of(event.model).add(event)
        else:
            label = self._models.of(event.model).label if event.known else UNKNOWN
            self._requests.labels(label, event.outcome).inc()
        if event.caller is not None:
            caller = self._callers.of(event.caller)
            caller.requests.inc()
            if event.outcome == OK:
                caller.tokens.inc(event.tokens)

    def _of_model(self, label: str) -> _Model:
        return _Model(
            label,
            self._requests.labels(label, OK),
            _Sizes(*(family.labels(label) for family in self._sizes)),
            _Times(*(family.labels(label) for family in self._times)),
        )

    def _of_caller(self, label: str) -> _Caller:
        return _Caller(*(family.labels(label) for family in self._of_callers))
