"""The machine that a report comes from."""

import os
import platform
from pathlib import Path

from msgspec import Struct


class Machine(Struct, frozen=True):
    """`cores` are those that this process may use."""

    cpu: str
    cores: int
    system: str
    python: str


def machine() -> Machine:
    """This one, as it describes itself."""
    system = f"{platform.system()} {platform.machine()}"
    return Machine(_cpu(), len(os.sched_getaffinity(0)), system, platform.python_version())


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or "unknown")
