"""Cost against work: the same engine at a thousand texts and at a hundred thousand.

What is resident goes up and down, as free pages are handed back every ten seconds: the most after
any request is what is compared, for the smaller number with the requests before it.
"""

from collections.abc import Sequence
from pathlib import Path

from msgspec.structs import replace

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
WARM = 4 * PIECE  # what libraries and the allocator take at first is not what is asked for
SEED = 3
TOKENS = 43  # of a text, about


def steps(entry: Entry) -> list[Step]:
    """What `run` will announce."""
    texts = (WARM + sum(SIZES)) * TOKENS
    return [Step("1,000 and 100,000 texts", entry.name, 10 + texts / entry.speed)]


def run(entry: Entry, python: Path, setting: Setting, progress: Progress) -> list[Cost]:
    """One cost a size; raises NotAvailable."""
    progress.begin("1,000 and 100,000 texts", entry.name)
    texts = generated(WARM + sum(SIZES), SEED)
    count = Counter(setting.model)
    with started(entry, python, setting) as worker:
        _, before = _pass(worker, texts[:WARM])
        small = _cost(entry.name, worker, texts[WARM:][: SIZES[0]], count)
        large = _cost(entry.name, worker, texts[WARM + SIZES[0] :], count)
    return [replace(small, resident=max(before, small.resident)), large]


def _cost(name: str, worker: Worker, texts: Sequence[str], count: Counter) -> Cost:
    seconds, resident = _pass(worker, texts)
    return Cost(name, len(texts), seconds / sum(count.lengths(texts)), resident)


def _pass(worker: Worker, texts: Sequence[str]) -> tuple[float, int]:
    """Seconds of all, and the most that is resident after any request."""
    done = [
        worker.ask(Round(texts[start : start + PIECE])) for start in range(0, len(texts), PIECE)
    ]
    return sum(sum(part.seconds) for part in done), max(part.resident for part in done)
