"""All policies over a cell and its seeds."""

from collections.abc import Callable, Mapping, Sequence

from embedwell_cache_fixed import strategy as fixed
from embedwell_cache_vram import strategy as vram
from tests.benchmarks.cache.cells import Cell
from tests.benchmarks.cache.loads import Case, make_case
from tests.benchmarks.cache.policies import CostBelady, Gdsf, LfuDa, LruByBytes, Sieve
from tests.benchmarks.cache.served import Served
from tests.benchmarks.cache.simulator import Policy, simulate

BASELINE, OURS = "lru count", "vram_aware"


def average_count(case: Case) -> int:
    """How many models of average weights fit: what an operator would set as `max_models`."""
    average = sum(model.need.weights for model in case.models.values()) / len(case.models)
    return max(1, int(case.capacity / average))


def by_count(case: Case) -> Policy:
    return Served(fixed.FixedSize(fixed.Config(max_models=average_count(case))), case.capacity)


def by_value(case: Case) -> Policy:
    return Served(vram.VramAware(vram.Config()), case.capacity)


POLICIES: Mapping[str, Callable[[Case], Policy]] = {
    BASELINE: by_count,
    OURS: by_value,
    "lru bytes": lambda case: LruByBytes(case.capacity),
    "lfu-da": lambda case: LfuDa(case.capacity),
    "gdsf": lambda case: Gdsf(case.capacity),
    "sieve": lambda case: Sieve(case.capacity),
    "offline": CostBelady,
}


def compare(case: Case) -> dict[str, float]:
    """Reload seconds of every policy."""
    return {name: simulate(case, make(case)).reload_seconds for name, make in POLICIES.items()}


def run_cell(job: tuple[Cell, int]) -> tuple[Cell, int, dict[str, float]]:
    """One cell with one seed, in a process of a pool."""
    cell, seed = job
    return cell, seed, compare(make_case(cell, seed))


def ratios(runs: Sequence[Mapping[str, float]], policy: str) -> list[float]:
    """Its reload seconds over the baseline's, seed by seed."""
    return [run[policy] / run[BASELINE] for run in runs]
