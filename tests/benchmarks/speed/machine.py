"""The machine that a comparison ran on."""

import os
import platform
from pathlib import Path

from tests.benchmarks.speed.results import Machine

TELLING = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "avx_vnni", "amx_bf16", "amx_int8")


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
