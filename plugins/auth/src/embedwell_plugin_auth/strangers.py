"""Requests without a valid key: counted, and told of now and then."""

import logging
from collections.abc import Callable

log = logging.getLogger("embedwell.auth")
EVERY = 60.0  # seconds between two lines


class Strangers:
    """One line a minute at most, however many there are; `total` since the start."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._due = clock()
        self._told = 0
        self._last = ""
        self.total = 0

    def refused(self, client: str) -> None:
        """One more; `client` is its address."""
        self.total += 1
        self._last = client
        if self._clock() >= self._due:
            self.tell()

    def tell(self) -> None:
        """Writes of those not told of yet, if there are any."""
        untold = self.total - self._told
        if untold:
            log.warning("requests without a valid key: %d, the last from %.60a", untold, self._last)
        self._told = self.total
        self._due = self._clock() + EVERY
