"""What a comparison found, as docs/benchmarks.json has it."""

from collections.abc import Sequence
from statistics import median

from msgspec import Struct


class Found(Struct, frozen=True):
    """One engine. `missing` says why there are no figures; seconds are of each round.

    `alone` are seconds of single short texts. Cosines are to sentence-transformers fp32;
    `correlation` is Spearman's, of cosine against the file's scores. `peak` is in bytes.
    """

    name: str
    setup: str
    missing: str = ""
    seconds: Sequence[float] = ()
    alone: Sequence[float] = ()
    cosine_mean: float | None = None
    cosine_min: float | None = None
    correlation: float | None = None
    peak: int = 0

    @property
    def typical(self) -> float:
        """Seconds of a round: the median."""
        return median(self.seconds)


class Load(Struct, frozen=True):
    """A server under so many connections, one text a request; `server` ran at `precision`."""

    server: str
    precision: str
    connections: int
    texts: str  # "all", or "short" ones
    requests_per_second: float
    tokens_per_second: float | None
    p50: float  # milliseconds
    p99: float
    errors: int
    client_cpu_ms: float | None


class Cost(Struct, frozen=True):
    """One engine at so many texts: its time per token, and the most that was resident."""

    name: str
    texts: int
    seconds_per_token: float
    resident: int


class Machine(Struct, frozen=True):
    """Where it ran; `flags` are those of the processor that decide about products."""

    cpu: str
    flags: Sequence[str]
    cores: int
    memory: int
    system: str
    python: str


class Texts(Struct, frozen=True):
    """What was embedded; `longest` and the sum are of tokens, special ones too."""

    source: str
    count: int
    tokens: int
    longest: int


class Outcome(Struct, frozen=True):
    """A whole run. `limits` are GFLOP/s by precision, `absent` servers that could not be had.

    `others` is the share of the processors that other processes used meanwhile.
    """

    started: str  # UTC
    command: str
    seconds: float
    machine: Machine
    versions: dict[str, str]
    texts: Texts
    flops_per_token: int
    limits: dict[str, float]
    engines: Sequence[Found]
    loads: Sequence[Load]
    absent: dict[str, str]
    others: float
    costs: Sequence[Cost] = ()

    def engine(self, name: str) -> Found | None:
        """One that has figures."""
        return next((item for item in self.engines if item.name == name and item.seconds), None)

    def rate(self, name: str) -> float | None:
        """Tokens a second."""
        found = self.engine(name)
        return self.texts.tokens / found.typical if found else None

    def share(self, name: str) -> float | None:
        """Of the measured limit of the products in its precision."""
        rate, limit = self.rate(name), self.limits.get(name.rsplit(maxsplit=1)[-1])
        return rate * self.flops_per_token / limit / 1e9 if rate and limit else None
