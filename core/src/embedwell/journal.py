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

DIGITS = 12  # of a revision


def write(event: Event) -> None:
    """An observer; whoever runs the server reads this in the morning."""
    match event:
        case ModelLoaded():
            log.info("loaded %s in %.1f s, %s", _short(event.key), event.seconds, _taken(event))
        case ModelEvicted():
            log.info("unloaded %s: %s", _short(event.key), event.reason)
        case LoadFailed():
            log.warning("%s was not loaded: %s", _short(event.key), event.message)
        case TaskFinished(status="failed"):
            log.warning("%s %s failed: %s", event.kind, event.key, event.error)
        case TaskFinished():
            log.info("%s %s: %s, %.1f s", event.kind, event.key, event.status, event.seconds)
        case WorkerReplaced():
            log.error("a forward pass on %s did not return; its thread was given up", event.device)
        case _:
            pass


def _short(key: str) -> str:
    """A commit or digest is known by its first digits."""
    name, at, revision = key.partition("@")
    return f"{name}{at}{revision[:DIGITS]}"


def _taken(event: ModelLoaded) -> str:
    return f"{_size(event.weights)} ({_size(event.measured)} with its largest batches)"


def _size(number: int) -> str:
    return f"{number / 1e6:.0f} MB" if number < 1e9 else f"{number / 1e9:.2f} GB"
