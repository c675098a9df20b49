"""Reload seconds of `vram_aware` against LRU and the literature's policies.

`python -m tests.benchmarks.cache_simulation` from the repository's root; exits with 1 when what
tests/benchmarks/cache/cells.py promises is missed. `--trace` and `--models` compare the policies
on recorded requests instead, and promise nothing.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tests.benchmarks.cache import cells
from tests.benchmarks.cache.cells import CELLS, Cell
from tests.benchmarks.cache.contest import BASELINE, average_count, compare, run_cell
from tests.benchmarks.cache.report import judge, table, verdict
from tests.benchmarks.cache.traces import read_case

QUICK_SEEDS = 3  # and the middle Zipf only


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 when all is met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a third of the cells, three seeds")
    parser.add_argument("--tuning", action="store_true", help="the seeds for tuning")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes")
    parser.add_argument("--trace", type=Path, help="CSV: seconds,model")
    parser.add_argument("--models", type=Path, help="CSV: model,bytes,load_seconds")
    options = parser.parse_args(arguments)
    if (options.trace is None) != (options.models is None):
        parser.error("--trace and --models belong together")
    if options.trace is not None:
        try:
            return compare_trace(options.trace, options.models)
        except (OSError, ValueError) as error:
            parser.error(str(error))
    return run(quick=options.quick, tuning=options.tuning, jobs=max(1, options.jobs or 1))


def run(*, quick: bool, tuning: bool, jobs: int) -> int:
    began = time.monotonic()
    seeds = (cells.TUNING if tuning else cells.JUDGING)[: QUICK_SEEDS if quick else None]
    chosen = [cell for cell in CELLS if not quick or cell.zipf == cells.ZIPFS[1]]
    results: dict[Cell, list[dict[str, float]]] = {cell: [] for cell in chosen}
    with ProcessPoolExecutor(jobs) as pool:
        for cell, _, seconds in pool.map(run_cell, [(c, s) for c in chosen for s in seeds]):
            results[cell].append(seconds)
    judged = [judge(cell, runs) for cell, runs in results.items()]
    print("\n".join(table(judged)))
    lines, passed = verdict(judged)
    print(f"\n{'tuning' if tuning else 'judging'} seeds {seeds[0]}..{seeds[-1]}")
    print("\n".join(lines))
    print(f"{time.monotonic() - began:.0f} s")
    return 0 if passed else 1


def compare_trace(trace: Path, models: Path) -> int:
    """All policies on recorded requests, at the three sizes of device."""
    for fraction in cells.FRACTIONS:
        case = read_case(trace, models, fraction)
        seconds = compare(case)
        base = seconds[BASELINE]
        count = average_count(case)
        print(f"{fraction:.0%} of the hot set: {case.capacity / 1e9:.1f} GB, {count} models")
        for name, spent in seconds.items():
            print(f"  {name:<12}{spent:10.0f} s  {spent / base:6.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
