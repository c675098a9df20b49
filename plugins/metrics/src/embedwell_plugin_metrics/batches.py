"""Forward passes: their sizes, their seconds, and what padding cost."""

from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Histogram

from embedwell import BatchRun, WorkerReplaced
from embedwell_plugin_metrics.buckets import INPUTS, SECONDS, TOKENS
from embedwell_plugin_metrics.embeddings import OK
from embedwell_plugin_metrics.names import ByName, Names


OUTCOMES = (OK, "out_of_memory", "error", "timeout", "fatal")  # there at 0 for who counts increases


class _Model(NamedTuple):
    """One model's series."""

    ended: Mapping[str, Counter]
    tokens: Histogram
    inputs: Histogram
    seconds: Histogram
    padding: Counter


class Batches:
    """Sizes and times are those of passes that succeeded."""

    def __init__(self, registry: CollectorRegistry, models: Names) -> None:
        counter = partial(Counter, registry=registry)
        histogram = partial(Histogram, registry=registry)
        model = ("model",)
        self._total = counter(
            "embedwell_batches_total",
            "Forward passes that ended; one that was out_of_memory is halved and tried again.",
            ("model", "outcome"),
        )
        self._tokens = histogram(
            "embedwell_batch_tokens", "Tokens of a batch.", model, buckets=TOKENS
        )
        self._inputs = histogram(
            "embedwell_batch_inputs", "Inputs of a batch.", model, buckets=INPUTS
        )
        self._seconds = histogram(
            "embedwell_batch_duration_seconds", "Seconds of a batch.", model, buckets=SECONDS
        )
        self._padding = counter(
            "embedwell_batch_padding_tokens_total",
            "What was computed beyond the tokens of the batches: 0 for packed models.",
            model,
        )
        self._replaced = counter(
            "embedwell_worker_replacements_total",
            "Device threads given up because a batch did not return in time.",
        )
        self._models = ByName(models, self._of_model)

    def observe(self, event: BatchRun) -> None:
        model = self._models.of(event.model)
        model.ended[event.outcome].inc()
        if event.outcome != OK:
            return
        model.tokens.observe(event.tokens)
        model.inputs.observe(event.items)
        model.seconds.observe(event.seconds)
        if event.cost > event.tokens:
            model.padding.inc(event.cost - event.tokens)

    def replaced(self, event: WorkerReplaced) -> None:
        self._replaced.inc()

    def _of_model(self, label: str) -> _Model:
        return _Model(
            {outcome: self._total.labels(label, outcome) for outcome in OUTCOMES},
            self._tokens.labels(label),
            self._inputs.labels(label),
            self._seconds.labels(label),
            self._padding.labels(label),
        )
