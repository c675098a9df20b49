"""What is measured, as the JSON report has it: every Struct here is one of its objects."""

from msgspec import Struct

from embedwell.bench.machine import Machine


class Latency(Struct, frozen=True):
    """Milliseconds from a request's writing to its answer's last byte, by nearest rank."""

    p50: float
    p95: float
    p99: float
    max: float


class Failure(Struct, frozen=True):
    """`example` is what the first answer of this kind said, empty where there was none."""

    kind: str
    count: int
    example: str


class Figures(Struct, frozen=True):
    """One window, or all windows of a level together.

    `requests` were answered rightly; rates count those of them that ended inside of `seconds`.
    `tokens_per_second` is None where the server states no usage, `latency_ms` where none was
    answered. `errors` are in `failures` by kind; `limited` are refusals with 429, counted apart.
    `checked` answers were read in full, and the wrong ones of them are failures. `client_cpu_ms`
    is what this process spent per answer, on all cores.
    """

    seconds: float
    requests: int
    requests_per_second: float
    texts_per_second: float
    tokens_per_second: float | None
    latency_ms: Latency | None
    errors: int
    failures: tuple[Failure, ...]
    limited: int
    checked: int
    client_cpu_ms: float | None


class Level(Struct, frozen=True):
    """`figures` of all rounds together, and `rounds` one by one in their order."""

    concurrency: int
    figures: Figures
    rounds: tuple[Figures, ...]


class Measured(Struct, frozen=True):
    """One server. `encoding` is what its answers have; `repeated`: some texts were sent again."""

    url: str
    model: str
    dimensions: int
    encoding: str
    repeated: bool
    levels: tuple[Level, ...]


class Settings(Struct, frozen=True):
    """What was asked for; `texts` is the file's name, None for generated ones. Times in seconds."""

    texts: str | None
    unique: bool
    per_request: int
    concurrency: tuple[int, ...]
    seconds: float
    warmup: float
    rounds: int
    encoding: str
    timeout: float


class Report(Struct, frozen=True):
    """The whole of `embedwell bench --json`; servers are in the order of the command line.

    `started` is in UTC, ISO 8601. `loop` is "asyncio" or "uvloop". `command` has no key in it.
    `format` grows when a field changes its meaning. `interrupted`: levels or rounds are missing.
    """

    format: int
    started: str
    embedwell: str
    machine: Machine
    loop: str
    command: tuple[str, ...]
    settings: Settings
    interrupted: bool
    servers: tuple[Measured, ...]
