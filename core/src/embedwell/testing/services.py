"""The services that a source gets, outside a server."""

import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from embedwell.config.schema import Store as Settings
from embedwell.interfaces.events import Event
from embedwell.interfaces.models import ModelKey
from embedwell.interfaces.services import BaseServices
from embedwell.models.archive import unpack
from embedwell.models.checking import Checker
from embedwell.models.files import Files
from embedwell.models.holds import Holds
from embedwell.models.store import ModelStore
from embedwell.tasks.runner import TaskRunner
from embedwell.tasks.threads import BoundedThreads


def make_services(
    folder: Path,
    events: list[Event] | None = None,
    changed: list[ModelKey] | None = None,
    *,
    settings: Settings | None = None,
    holds: Holds | None = None,
    files: Files | None = None,
    check: Callable[[Path], Awaitable[None]] | None = None,
    wall: Callable[[], float] = time.time,
) -> BaseServices:
    """Real tasks, threads and store, which lies in `folder / "store"`. Call it in a running loop.

    Events go to one list, to the other the keys of models that are gone or replaced. The store
    asks `holds` before it removes files, changes the disk through `files`, and publishes what
    `check` accepts: by default what a server would.
    """
    seen: list[Event] = [] if events is None else events
    gone: list[ModelKey] = [] if changed is None else changed
    threads = BoundedThreads(4)
    store = ModelStore(
        folder / "store",
        settings=settings or Settings(),
        threads=threads,
        changed=gone.extend,
        holds=holds or Holds(),
        check=check or Checker(threads).check,
        unpack=unpack,
        wall=wall,
        files=files,
    )
    store.recover()
    return BaseServices(
        folder=folder,
        store=store,
        tasks=TaskRunner(seen.append, time.monotonic, wall),
        threads=threads,
        changed=gone.extend,
        emit=seen.append,
        clock=time.monotonic,
    )
