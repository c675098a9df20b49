"""The figures to reach, as data, and whether a run reached them."""

from collections.abc import Callable, Sequence
from statistics import median

from msgspec import Struct

from tests.benchmarks.engines.catalogue import BASELINE
from tests.benchmarks.speed.results import Load, Outcome

Value = Callable[[Outcome], float | None]


class Goal(Struct, frozen=True):
    """`needed` is a least value, or with `at_most` a greatest; None of `value`: not measured."""

    work: str
    what: str
    needed: float
    value: Value
    at_most: bool = False
    form: str = ".2f"

    def reached(self, outcome: Outcome) -> bool | None:
        """None where it was not measured."""
        found = self.value(outcome)
        if found is None:
            return None
        return found <= self.needed if self.at_most else found >= self.needed


def rate(name: str) -> Value:
    return lambda outcome: outcome.rate(name)


def ratio(name: str, other: str) -> Value:
    """How many times as fast."""

    def value(outcome: Outcome) -> float | None:
        ours, theirs = outcome.rate(name), outcome.rate(other)
        return ours / theirs if ours and theirs else None

    return value


def share(name: str) -> Value:
    return lambda outcome: outcome.share(name)


def cosine(name: str, which: str) -> Value:
    def value(outcome: Outcome) -> float | None:
        found = outcome.engine(name)
        return getattr(found, f"cosine_{which}") if found else None

    return value


def lost(name: str) -> Value:
    """How far the correlation is from the reference's."""

    def value(outcome: Outcome) -> float | None:
        ours, theirs = outcome.engine(name), outcome.engine(BASELINE)
        if ours is None or theirs is None or ours.correlation is None or theirs.correlation is None:
            return None
        return abs(ours.correlation - theirs.correlation)

    return value


def best_load(outcome: Outcome, texts: str, connections: int) -> Load | None:
    """Our server's, at the last precision that it was measured at."""
    found = [
        load
        for load in outcome.loads
        if (load.server, load.texts, load.connections) == ("embedwell", texts, connections)
    ]
    return found[-1] if found else None


def engine_of(load: Load) -> str:
    """The engine that a server has inside."""
    return {"float32": "ours fp32", "bfloat16": "ours bf16"}[load.precision]


def of_engine(outcome: Outcome) -> float | None:
    load = best_load(outcome, "all", 32)
    engine = outcome.rate(engine_of(load)) if load else None
    return load.tokens_per_second / engine if load and load.tokens_per_second and engine else None


def of_infinity(outcome: Outcome) -> float | None:
    ours = best_load(outcome, "all", 32)
    theirs = [
        load.requests_per_second
        for load in outcome.loads
        if (load.server, load.texts, load.connections) == ("infinity", "all", 32)
    ]
    return ours.requests_per_second / theirs[0] if ours and theirs and theirs[0] else None


def client(outcome: Outcome) -> float | None:
    load = best_load(outcome, "all", 32)
    return load.client_cpu_ms if load else None


def added(outcome: Outcome) -> float | None:
    """Milliseconds that HTTP adds to one short text."""
    load = best_load(outcome, "short", 1)
    engine = outcome.engine(engine_of(load)) if load else None
    return load.p50 - median(engine.alone) * 1e3 if load and engine else None


def growth(what: str) -> Value:
    """The largest part by which a figure is higher at 100,000 texts than at 1,000."""

    def value(outcome: Outcome) -> float | None:
        pairs = zip(outcome.costs[::2], outcome.costs[1::2], strict=True)
        parts = [getattr(large, what) / getattr(small, what) - 1 for small, large in pairs]
        return max(parts, default=None)

    return value


FP32, BF16, INT8 = "ours fp32", "ours bf16", "ours int8"
SERVER, COST = "server, one text a request", "cost against work"
GOALS: Sequence[Goal] = (
    Goal(FP32, "tokens/s", 16_000, rate(FP32), form=",.0f"),
    Goal(FP32, f"times {BASELINE}", 4, ratio(FP32, BASELINE)),
    Goal(FP32, "times onnxruntime fp32", 1.9, ratio(FP32, "onnxruntime fp32")),
    Goal(FP32, "least cosine", 0.99995, cosine(FP32, "min"), form=".5f"),
    Goal(BF16, "tokens/s", 28_000, rate(BF16), form=",.0f"),
    Goal(BF16, f"times {BASELINE}", 7, ratio(BF16, BASELINE)),
    Goal(BF16, "times OpenVINO bf16", 1.9, ratio(BF16, "OpenVINO bf16")),
    Goal(BF16, "times OpenVINO int8", 1.35, ratio(BF16, "OpenVINO int8")),
    Goal(BF16, "of the bf16 product rate", 0.65, share(BF16)),
    Goal(BF16, "least cosine", 0.9998, cosine(BF16, "min"), form=".5f"),
    Goal(BF16, "lost correlation", 0.0005, lost(BF16), at_most=True, form=".4f"),
    Goal(INT8, "tokens/s", 38_000, rate(INT8), form=",.0f"),
    Goal(INT8, "mean cosine", 0.997, cosine(INT8, "mean"), form=".5f"),
    Goal(INT8, "least cosine", 0.98, cosine(INT8, "min"), form=".5f"),
    Goal(INT8, "lost correlation", 0.003, lost(INT8), at_most=True, form=".4f"),
    Goal(SERVER, "of the engine's tokens/s, 32 connections", 0.85, of_engine),
    Goal(SERVER, "times infinity, 32 connections", 10, of_infinity),
    Goal(SERVER, "core-ms a request of the client", 0.1, client, at_most=True),
    Goal(SERVER, "ms over the engine, short text, 1 connection", 0.6, added, at_most=True),
    Goal(COST, "more time a token at 100,000 texts than at 1,000", 0.05,
         growth("seconds_per_token"), at_most=True),
    Goal(COST, "more resident in 100,000 texts than before", 0.05,
         growth("resident"), at_most=True),
)  # fmt: skip
