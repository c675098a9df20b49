"""One log line for whatever changes what the server can do: loads, evictions, background work."""

import logging

from embedwell.interfaces.events import (
    Event,
    LoadFailed,
    ModelEvicted,
    ModelLoaded,
    TaskFinished,
    WorkerReplaced,
)

log = logging.getLogger("embedwell")


def write(event: Event) -> None:
    """An observer; whoever runs the server reads this in the morning."""
    match event:
        case ModelLoaded():
            log.info("loaded %s in %.1f s, %.2f GB", event.key, event.seconds, event.measured / 1e9)
        case ModelEvicted():
            log.info("unloaded %s: %s", event.key, event.reason)
        case LoadFailed():
            log.warning("%s was not loaded: %s", event.key, event.message)
        case TaskFinished(status="failed"):
            log.warning("%s %s failed: %s", event.kind, event.key, event.error)
        case TaskFinished():
            log.info("%s %s: %s, %.1f s", event.kind, event.key, event.status, event.seconds)
        case WorkerReplaced():
            log.error("a forward pass on %s did not return; its thread was given up", event.device)
        case _:
            pass
