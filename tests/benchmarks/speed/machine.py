"""The machine that a comparison ran on."""

import os
import platform
import time
from pathlib import Path

from tests.benchmarks.speed.results import Machine

TELLING = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "avx_vnni", "amx_bf16", "amx_int8")


class Busyness:
    """How much others used the processors since it was made."""

    def __init__(self) -> None:
        self._began = time.monotonic(), _busy() - _own()

    def others(self) -> float:
        """Their share of all processors; children count as others until they were waited for."""
        began, busy = self._began
        return (_busy() - _own() - busy) / (time.monotonic() - began) / (os.cpu_count() or 1)


def _busy() -> float:
    """Seconds that all processors worked for anybody since the machine started."""
    return worked(Path("/proc/stat").read_text()) / os.sysconf("SC_CLK_TCK")


def worked(stat: str) -> int:
    """Ticks of /proc/stat that are neither idle nor waiting; guests' are in the user's already."""
    user, nice, system, _, _, *interrupts = stat.split(maxsplit=9)[1:9]
    return sum(map(int, (user, nice, system, *interrupts)))


def _own() -> float:
    """Of this process and of those that it waited for."""
    return sum(os.times()[:4])


def machine() -> Machine:
    """This one."""
    lines = [line.partition(":") for line in Path("/proc/cpuinfo").read_text().splitlines()]
    said = {name.strip(): value.strip() for name, _, value in lines}
    flags = said.get("flags", "").split()
    family = f"family {said.get('cpu family', '?')} model {said.get('model', '?')}"
    return Machine(
        cpu=f"{said.get('model name', 'unknown')} ({family})",
        flags=[flag for flag in TELLING if flag in flags],
        cores=len(os.sched_getaffinity(0)),
        memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
    )
