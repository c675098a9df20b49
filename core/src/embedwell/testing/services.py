"""The services that a source gets, outside a server."""

import time
from pathlib import Path

from embedwell.interfaces.events import Event
from embedwell.interfaces.services import BaseServices
from embedwell.tasks.runner import TaskRunner
from embedwell.tasks.threads import BoundedThreads


def make_services(folder: Path, events: list[Event] | None = None) -> BaseServices:
    """Real tasks and threads; events go to the list. Call it inside a running loop."""
    seen: list[Event] = [] if events is None else events
    return BaseServices(
        folder=folder,
        tasks=TaskRunner(seen.append, time.monotonic, time.time),
        threads=BoundedThreads(4),
        emit=seen.append,
        clock=time.monotonic,
    )
