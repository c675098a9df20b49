"""What the cache has done since the start, counted."""

from embedwell.interfaces.events import Event, LoadFailed, ModelEvicted, ModelLoaded
from embedwell.interfaces.status import CacheCounters


class Tally:
    """Counts requests as they come, the rest from the cache's own events."""

    def __init__(self) -> None:
        self._hits = self._misses = 0
        self._loads = self._evictions = self._failures = 0

    def asked(self, ready: bool) -> None:
        """A request found its model ready, or not."""
        self._hits += ready
        self._misses += not ready

    def count(self, event: Event) -> None:
        self._loads += isinstance(event, ModelLoaded)
        self._evictions += isinstance(event, ModelEvicted)
        self._failures += isinstance(event, LoadFailed)

    def counters(self) -> CacheCounters:
        return CacheCounters(
            hits=self._hits,
            misses=self._misses,
            loads=self._loads,
            evictions=self._evictions,
            load_failures=self._failures,
        )
