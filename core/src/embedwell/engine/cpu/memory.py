"""Host memory as a DeviceMemory: the machine's, or a container's limit if that is less."""

from pathlib import Path

from embedwell.engine.cpu.cgroup import folders, number
from embedwell.interfaces.encoders import Memory

# Limit, use, and the cached files that the kernel drops by itself: version 2, then version 1.
FILES = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


class HostMemory:
    """Reads `proc` and `cgroups` anew each time."""

    def __init__(self, proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> None:
        self._proc, self._cgroups = proc, cgroups

    def measure(self) -> Memory:
        """Bytes; raises OSError where the system does not tell."""
        lines = (self._proc / "meminfo").read_text().splitlines()
        fields = dict(line.split(":", 1) for line in lines if ":" in line)
        total, free = _kilobytes(fields, "MemTotal"), _kilobytes(fields, "MemAvailable")
        for folder in folders("memory", self._proc / "self" / "cgroup", self._cgroups):
            for limit, left in _limits(folder):
                total, free = min(total, limit), min(free, left)
        return Memory(total, free)


def _kilobytes(fields: dict[str, str], name: str) -> int:
    try:
        return int(fields[name].split()[0]) * 1024
    except (KeyError, ValueError, IndexError):
        raise OSError(f"/proc/meminfo does not tell {name}") from None


def _limits(folder: Path) -> list[tuple[int, int]]:
    found = []
    for limit_file, used_file, cached in FILES:
        limit, used = number(folder / limit_file), number(folder / used_file)
        if limit is not None and used is not None:
            held = max(0, used - _cached(folder, cached))
            found.append((limit, max(0, limit - held)))
    return found


def _cached(folder: Path, name: str) -> int:
    try:
        lines = (folder / "memory.stat").read_text().splitlines()
        return next((int(n) for key, n in (x.split() for x in lines) if key == name), 0)
    except (OSError, ValueError):
        return 0
