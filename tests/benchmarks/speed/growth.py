"""Cost against work: the same engine at a thousand texts and at a hundred thousand."""

from collections.abc import Sequence
from pathlib import Path

from embedwell.bench.texts import generated
from tests.benchmarks.engines.catalogue import Entry
from tests.benchmarks.engines.engine import Setting
from tests.benchmarks.speed.model import Counter
from tests.benchmarks.speed.progress import Progress, Step
from tests.benchmarks.speed.protocol import Round
from tests.benchmarks.speed.results import Cost
from tests.benchmarks.speed.workers import Worker, started

SIZES = (1_000, 100_000)
PIECE = 1_000  # texts of a request
SEED = 3
TOKENS = 43  # of a text, about


def steps(entry: Entry) -> list[Step]:
    """What `run` will announce."""
    texts = (sum(SIZES) + PIECE) * TOKENS
    return [Step("1,000 and 100,000 texts", entry.name, 10 + texts / entry.speed)]


def run(entry: Entry, python: Path, setting: Setting, progress: Progress) -> list[Cost]:
    """One cost a size; raises NotAvailable."""
    progress.begin("1,000 and 100,000 texts", entry.name)
    texts = generated(sum(SIZES) + PIECE, SEED)
    count = Counter(setting.model)
    with started(entry, python, setting) as worker:
        _pass(worker, texts[:PIECE])  # the allocator's first growth is not what is asked for
        small = _cost(entry.name, worker, texts[PIECE:][: SIZES[0]], count)
        large = _cost(entry.name, worker, texts[PIECE + SIZES[0] :], count)
    return [small, large]


def _cost(name: str, worker: Worker, texts: Sequence[str], count: Counter) -> Cost:
    seconds, resident = _pass(worker, texts)
    return Cost(name, len(texts), seconds / sum(count.lengths(texts)), resident)


def _pass(worker: Worker, texts: Sequence[str]) -> tuple[float, int]:
    """Seconds of all, and what is resident after the last."""
    done = [
        worker.ask(Round(texts[start : start + PIECE])) for start in range(0, len(texts), PIECE)
    ]
    return sum(sum(part.seconds) for part in done), done[-1].resident
