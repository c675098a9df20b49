"""`embedwell ps`: the models that a server has loaded."""

import argparse
import time

from embedwell.cli.output import table
from embedwell.cli.progress import size
from embedwell.cli.remote import printable, server
from embedwell.interfaces.status import CacheStatus, ResidentInfo

HEADS = ("MODEL", "SOURCE", "SIZE", "STATE", "LEASES", "REQUESTS", "IDLE")


def run(arguments: argparse.Namespace) -> int:
    """A table, then the device's memory and what the cache did since the start."""
    status = server(arguments).ask("GET", "/embeddings/cache/status", CacheStatus)
    if status.models:
        print(table(HEADS, [_row(model, time.time()) for model in status.models]))
    else:
        print("No model is loaded; the first request for one loads it.")
    print(printable(_memory(status)))
    print(_counters(status))
    return 0


def _row(model: ResidentInfo, now: float) -> tuple[str, ...]:
    return (
        printable(model.tag),
        printable(model.source),
        size(model.bytes),
        f"{model.state}, pinned" if model.pinned else model.state,
        str(model.leases),
        str(model.requests),
        "-" if model.leases or not model.last_used else _span(now - model.last_used),
    )


def _span(seconds: float) -> str:
    if seconds < 90:
        return f"{max(0, seconds):.0f} s"
    if seconds < 5_400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3_600:.0f} h"


def _memory(status: CacheStatus) -> str:
    memory = status.memory
    return (
        f"{status.device}: {size(memory.used)} of {size(memory.total)} in use, "
        f"{size(memory.reserved)} of it for models; strategy {status.strategy}"
    )


def _counters(status: CacheStatus) -> str:
    seen = status.counters
    return (
        f"hits {seen.hits}, misses {seen.misses}, loads {seen.loads}, "
        f"evictions {seen.evictions}, load failures {seen.load_failures}"
    )
