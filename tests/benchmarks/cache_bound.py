"""How far any policy could get in a cell, one that knows the future included.

    python -m tests.benchmarks.cache_bound pingpong 1.2 0.5

An integer program for each judging seed: a model may be kept from one request to its next, which
saves its load, and whatever is kept while another is served must fit beside it, of peaks only
that one's. What the solver proves in 15 seconds a seed is a bound from below on reload seconds,
printed relative to LRU by count as in `cache_simulation`.
"""

import sys
from itertools import pairwise

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp  # type: ignore[import-untyped]
from scipy.sparse import csr_matrix  # type: ignore[import-untyped]

from tests.benchmarks.cache import cells
from tests.benchmarks.cache.cells import Cell
from tests.benchmarks.cache.contest import by_count
from tests.benchmarks.cache.loads import Case, make_case
from tests.benchmarks.cache.simulator import simulate

SECONDS = 15.0
GB = 1e9


def least_reload_seconds(case: Case) -> float:
    """No policy can do with less."""
    names = [name for _, name in case.requests]
    needs = {name: model.need for name, model in case.models.items()}
    stays = [(a, b) for moments in _moments(names).values() for a, b in pairwise(moments)]
    inside = [(step, stay) for stay, (a, b) in enumerate(stays) for step in range(a + 1, b)]
    sizes = [needs[names[stays[stay][0]]].weights / GB for _, stay in inside]
    steps, columns = [step for step, _ in inside], [stay for _, stay in inside]
    kept = csr_matrix((sizes, (steps, columns)), shape=(len(names), len(stays)))
    room = [(case.capacity - needs[n].weights - needs[n].peak) / GB for n in names]
    saved = np.array([case.models[names[a]].seconds for a, _ in stays])
    found = milp(
        -saved,
        constraints=LinearConstraint(kept, -np.inf, np.array(room)),
        bounds=Bounds(0, 1),
        integrality=np.ones(len(stays)),
        options={"time_limit": SECONDS},
    )
    return sum(case.models[name].seconds for name in names) + float(found.mip_dual_bound)


def _moments(names: list[str]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for step, name in enumerate(names):
        found.setdefault(name, []).append(step)
    return found


def main(words: list[str]) -> None:
    cell = Cell(words[0], float(words[1]), float(words[2]))  # type: ignore[arg-type]
    ratios = []
    for seed in cells.JUDGING:
        case = make_case(cell, seed)
        baseline = simulate(case, by_count(case)).reload_seconds
        ratios.append(least_reload_seconds(case) / baseline)
        print(f"seed {seed}: at least {ratios[-1]:.3f} of LRU by count", flush=True)
    print(f"{cell.name}: no policy below {sum(ratios) / len(ratios):.3f}")


if __name__ == "__main__":
    main(sys.argv[1:])
