"""Tells observers what happened; none of them can break a request or another observer."""

import logging
from collections import Counter
from collections.abc import Callable

from embedwell.interfaces.events import Event

log = logging.getLogger("embedwell.events")


class Events:
    """Observers in the order in which they came; all calls are on the loop."""

    def __init__(self) -> None:
        self._observers: list[tuple[str, Callable[[Event], None]]] = []
        self.failures: Counter[str] = Counter()  # by observer

    def add(self, name: str, observer: Callable[[Event], None]) -> None:
        """Call it for every event from now on."""
        self._observers.append((name, observer))

    def emit(self, event: Event) -> None:
        """Never raises; an observer's first failure is logged, the others are counted."""
        for name, observer in self._observers:
            try:
                observer(event)
            except Exception:
                if not self.failures[name]:
                    log.exception("observer %s failed on %s", name, type(event).__name__)
                self.failures[name] += 1
