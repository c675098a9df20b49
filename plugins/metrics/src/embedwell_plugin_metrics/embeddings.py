"""Embedding calls: by model, and by caller where a plugin names them."""

from functools import partial
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Histogram

from embedwell import Embedded
from embedwell_plugin_metrics.buckets import SECONDS
from embedwell_plugin_metrics.names import ByName, Names

OK = "ok"
UNKNOWN = "unknown"  # the label of models that no source has


class _Model(NamedTuple):
    """One model's series."""

    label: str
    answered: Counter
    inputs: Counter
    tokens: Counter
    truncated: Counter
    queue: Histogram
    tokenization: Histogram
    inference: Histogram
    total: Histogram

    def count(self, event: Embedded) -> None:
        """An answered call."""
        self.answered.inc()
        self.inputs.inc(event.inputs)
        self.tokens.inc(event.tokens)
        if event.truncated:
            self.truncated.inc(event.truncated)
        self.queue.observe(event.queue_seconds)
        self.tokenization.observe(event.tokenize_seconds)
        self.inference.observe(event.inference_seconds)
        self.total.observe(event.seconds)


class _Caller(NamedTuple):
    """One caller's series."""

    requests: Counter
    tokens: Counter


class EmbeddingRequests:
    """Sizes and times are those of calls that were answered, as `usage` has them."""

    def __init__(self, registry: CollectorRegistry, models: Names, callers: Names) -> None:
        counter = partial(Counter, registry=registry)
        seconds = partial(Histogram, buckets=SECONDS, registry=registry)
        model, caller = ("model",), ("caller",)
        self._requests = counter(
            "embedwell_requests_total",
            "Embedding calls that ended; outcome is ok, cancelled or an error's code.",
            ("model", "outcome"),
        )
        self._inputs = counter("embedwell_inputs_total", "Inputs that were answered.", model)
        self._tokens = counter(
            "embedwell_prompt_tokens_total", "Tokens of answered calls, as in usage.", model
        )
        self._truncated = counter(
            "embedwell_truncated_inputs_total", "Answered inputs that were cut.", model
        )
        self._queue = seconds(
            "embedwell_request_queue_duration_seconds",
            "From ids to the first batch, waiting for a load included; answered calls.",
            model,
        )
        self._tokenization = seconds(
            "embedwell_request_tokenization_duration_seconds",
            "From inputs to checked ids; answered calls.",
            model,
        )
        self._inference = seconds(
            "embedwell_request_inference_duration_seconds",
            "From the first batch to the finished rows; answered calls.",
            model,
        )
        self._total = seconds(
            "embedwell_request_duration_seconds",
            "Whole embedding calls, without HTTP; answered calls.",
            model,
        )
        self._caller_requests = counter(
            "embedwell_caller_requests_total", "Embedding calls that ended, by caller.", caller
        )
        self._caller_tokens = counter(
            "embedwell_caller_prompt_tokens_total", "Tokens of answered calls, by caller.", caller
        )
        self._models = ByName(models, self._of_model)
        self._callers = ByName(callers, self._of_caller)

    def observe(self, event: Embedded) -> None:
        if event.outcome == OK:
            self._models.of(event.model).count(event)
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
            self._inputs.labels(label),
            self._tokens.labels(label),
            self._truncated.labels(label),
            self._queue.labels(label),
            self._tokenization.labels(label),
            self._inference.labels(label),
            self._total.labels(label),
        )

    def _of_caller(self, label: str) -> _Caller:
        return _Caller(self._caller_requests.labels(label), self._caller_tokens.labels(label))
