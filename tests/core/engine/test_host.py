"""Processors and memory, as a container sees them."""

import os
from pathlib import Path

import pytest

from embedwell.engine.cpu import threads
from embedwell.engine.cpu.memory import HostMemory
from embedwell.interfaces.encoders import Memory

MEMINFO = "MemTotal:  1000 kB\nMemFree:  100 kB\nMemAvailable:  800 kB\n"
KB = 1024


@pytest.fixture
def host(tmp_path: Path) -> Path:
    write(tmp_path, {"proc/meminfo": MEMINFO, "proc/self/cgroup": "0::/a/b\n"})
    return tmp_path


def write(root: Path, files: dict[str, object]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(str(text))


def measure(root: Path) -> Memory:
    return HostMemory(root / "proc", root / "cg").measure()


def processors(root: Path) -> int:
    return threads.available(root / "proc/self/cgroup", root / "cg")


def test_without_limits(host: Path) -> None:
    assert measure(host) == Memory(1000 * KB, 800 * KB)
    write(host, {"cg/a/b/memory.max": "max\n", "cg/a/b/memory.current": 5})
    assert measure(host) == Memory(1000 * KB, 800 * KB)


def test_the_tightest_group_counts(host: Path) -> None:
    write(host, {"cg/a/b/memory.max": 500 * KB, "cg/a/b/memory.current": 100 * KB})
    assert measure(host) == Memory(500 * KB, 400 * KB)
    write(host, {"cg/a/memory.max": 300 * KB, "cg/a/memory.current": 250 * KB})
    assert measure(host) == Memory(300 * KB, 50 * KB)


def test_files_that_the_kernel_can_drop_are_free(host: Path) -> None:
    write(host, {"cg/a/b/memory.max": 500 * KB, "cg/a/b/memory.current": 400 * KB})
    write(host, {"cg/a/b/memory.stat": f"anon 7\ninactive_file {300 * KB}\n"})
    assert measure(host) == Memory(500 * KB, 400 * KB)


def test_lines_of_another_form_are_passed_over(host: Path) -> None:
    (host / "proc/self/cgroup").write_bytes(b"\nodd\n9:x\n0::/a/\xff:1\n")
    group = host / "cg" / os.fsdecode(b"a/\xff:1")
    group.mkdir(parents=True)
    (group / "memory.max").write_text(str(500 * KB))
    (group / "memory.current").write_text(str(100 * KB))
    (group / "memory.stat").write_text("odd\ninactive_file x\n")
    assert measure(host) == Memory(500 * KB, 400 * KB)
    assert processors(host) == len(os.sched_getaffinity(0))


def test_use_beyond_the_limit_leaves_nothing(host: Path) -> None:
    write(host, {"cg/a/b/memory.max": 10, "cg/a/b/memory.current": 11})
    assert measure(host).free == 0


def test_version_1_seen_from_inside_a_container(host: Path) -> None:
    write(host, {"proc/self/cgroup": "4:memory:/docker/x\n3:cpu,cpuacct:/docker/x\n"})
    write(host, {"cg/memory/memory.limit_in_bytes": 600 * KB})
    write(host, {"cg/memory/memory.usage_in_bytes": 100 * KB})
    write(host, {"cg/cpu,cpuacct/cpu.cfs_quota_us": 100_000})
    write(host, {"cg/cpu,cpuacct/cpu.cfs_period_us": 100_000})
    assert measure(host) == Memory(600 * KB, 500 * KB)
    assert processors(host) == 1


@pytest.mark.parametrize("meminfo", ["", "MemTotal: x kB", "MemTotal:\nMemAvailable:\n"])
def test_a_host_that_does_not_tell(host: Path, meminfo: str) -> None:
    write(host, {"proc/meminfo": meminfo})
    with pytest.raises(OSError, match="MemTotal"):
        measure(host)


def test_no_proc_at_all(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="meminfo"):
        measure(tmp_path)
    assert processors(tmp_path) == len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("text", "limit"),
    [("max 100000", 99), ("50000 100000", 1), ("100000 100000", 1), ("nonsense", 99), ("5 0", 99)],
)
def test_a_quota_bounds_threads(host: Path, text: str, limit: int) -> None:
    write(host, {"cg/a/cpu.max": text, "cg/a/b/cpu.max": "max 100000"})
    assert processors(host) == min(limit, len(os.sched_getaffinity(0)))


def test_a_version_1_quota_of_minus_one_is_none(host: Path) -> None:
    write(host, {"cg/a/cpu.cfs_quota_us": -1, "cg/a/cpu.cfs_period_us": 100_000})
    assert processors(host) == len(os.sched_getaffinity(0))
