"""How many threads a product gets, and giving them to the thread that computes."""

import os
from math import ceil
from pathlib import Path

from embedwell.engine.cpu.cgroup import folders, number

CGROUPS = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")


def available(own: Path = OWN, root: Path = CGROUPS) -> int:
    """Processors this process may use: its affinity, or a container's quota if that is less."""
    quotas = [quota for folder in folders("cpu", own, root) if (quota := _quota(folder))]
    return max(1, min([len(os.sched_getaffinity(0)), *(ceil(quota) for quota in quotas)]))


def _quota(folder: Path) -> float | None:
    """Processors' worth of time, None for no limit."""
    try:
        allowed, period = (folder / "cpu.max").read_text().split()
        return int(allowed) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        pass
    old, span = number(folder / "cpu.cfs_quota_us"), number(folder / "cpu.cfs_period_us")
    return old / span if old and span and old > 0 else None


def use(count: int) -> None:
    """Let the calling thread compute with `count` threads: OpenMP keeps the number per thread."""
    import torch

    if torch.get_num_threads() != count:
        torch.set_num_threads(count)
