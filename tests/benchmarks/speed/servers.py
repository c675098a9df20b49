"""Servers under load: ours and infinity, through `embedwell bench`, which takes them in turn."""

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec
from msgspec import Struct

from tests.benchmarks.engines.ours import CONFIG, MINILM
from tests.benchmarks.speed.owned import owned
from tests.benchmarks.speed.results import Load
from tests.benchmarks.speed.workers import NotAvailable

LEVELS = (1, 8, 32)
SECONDS = 3
WARMUP = 1
PATIENCE = 90.0  # seconds for a server to be ready
PAUSE = 0.2  # seconds between two looks
QUIET = {"DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1", "INFINITY_ANONYMOUS_USAGE_STATS": "0"}


class Running(Struct, frozen=True):
    """A server that answers; `model` is what it calls the model."""

    name: str
    precision: str
    url: str
    model: str


class Latency(Struct, frozen=True):
    """Of the report of `embedwell bench`, as far as it is read here; so are the next four."""

    p50: float
    p99: float


class Figures(Struct, frozen=True):
    requests_per_second: float
    tokens_per_second: float | None
    latency_ms: Latency | None
    errors: int
    client_cpu_ms: float | None


class Level(Struct, frozen=True):
    concurrency: int
    figures: Figures


class Server(Struct, frozen=True):
    levels: list[Level]


class Report(Struct, frozen=True):
    servers: list[Server]


@contextmanager
def embedwell(precision: str, folder: Path) -> Iterator[Running]:
    """The reference deployment at a precision; raises NotAvailable."""
    folder.mkdir(parents=True)
    command = [
        sys.executable, "-m", "embedwell", "serve", "--config", CONFIG,
        "--port", "0", "--data-dir", folder / "data",
    ]  # fmt: skip
    given = {"EMBEDWELL_ENGINE__DTYPE": precision, "EMBEDWELL_ENGINE__PRELOAD": f'["{MINILM}"]'}
    with owned(command, log=folder / "log", environment=given) as process:
        assert process.stdout is not None
        line = process.stdout.readline().decode()
        if "ready on " not in line:
            raise NotAvailable(_last(folder / "log"))
        url = line.split("ready on ")[1].split()[0]
        yield Running("embedwell", precision, url, MINILM)


@contextmanager
def infinity(environment: Path, model: Path, folder: Path) -> Iterator[Running]:
    """Its torch engine with its defaults for a CPU; raises NotAvailable."""
    program = environment / "bin" / "infinity_emb"
    if not program.exists():
        raise NotAvailable("infinity-emb could not be installed")
    folder.mkdir(parents=True)
    url = f"http://127.0.0.1:{_free_port()}"
    command = [
        program, "v2", "--model-id", model, "--served-model-name", "minilm", "--engine", "torch",
        "--device", "cpu", "--host", "127.0.0.1", "--port", url.rpartition(":")[2],
        "--no-model-warmup", "--log-level", "warning",
    ]  # fmt: skip
    log = folder / "log"
    with (
        (folder / "out").open("wb") as out,
        owned(command, log=log, output=out, environment=QUIET) as process,
    ):
        _await_health(f"{url}/health", process, log)
        yield Running("infinity", "float32", url, "minilm")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _await_health(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE):
                return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(PAUSE)
    raise NotAvailable(_last(log))


def _last(log: Path) -> str:
    said = log.read_text(errors="replace").strip().splitlines()
    return said[-1] if said else f"it was not ready within {PATIENCE:.0f} s"


def measure(
    servers: Sequence[Running], levels: Sequence[int], texts: Path | None, label: str, folder: Path
) -> list[Load]:
    """Raises NotAvailable where one cannot be measured."""
    target = folder / f"{label}.json"
    command = [
        sys.executable, "-m", "embedwell", "bench", *(server.url for server in servers),
        *(word for server in servers for word in ("--model", server.model)),
        "--concurrency", ",".join(map(str, levels)),
        "--seconds", SECONDS, "--warmup", WARMUP, "--json", target,
        *(("--texts", texts, "--unique") if texts else ()),
    ]  # fmt: skip
    log = folder / f"{label}.log"
    with ExitStack() as stack:
        out = stack.enter_context((folder / f"{label}.out").open("wb"))
        process = stack.enter_context(owned([str(word) for word in command], log=log, output=out))
        if process.wait() != 0:
            raise NotAvailable(_last(log))
    report = msgspec.json.decode(target.read_bytes(), type=Report)
    return [
        _load(server, level, label)
        for server, seen in zip(servers, report.servers, strict=True)
        for level in seen.levels
    ]


def _load(server: Running, level: Level, label: str) -> Load:
    """infinity states characters as tokens, so that its tokens a second are none."""
    figures = level.figures
    latency = figures.latency_ms or Latency(float("nan"), float("nan"))
    return Load(
        server=server.name,
        precision=server.precision,
        connections=level.concurrency,
        texts=label,
        requests_per_second=figures.requests_per_second,
        tokens_per_second=figures.tokens_per_second if server.name == "embedwell" else None,
        p50=latency.p50,
        p99=latency.p99,
        errors=figures.errors,
        client_cpu_ms=figures.client_cpu_ms,
    )
