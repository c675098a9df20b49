"""Who computes with how many processors.

Batches run side by side, a processor each, rather than one after the other on all: products that
share processors wait for the slowest of them at every step, a hundred times in a forward pass, and
whoever else uses a processor for a moment, the event loop above all, then stops them all.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from embedwell.engine.cpu import threads
from embedwell.interfaces.encoders import Batch

MOST = 8  # batches side by side: activations take memory
# Bytes of weights times tokens that are worth waking other processors for: ten milliseconds of one.
# They wait for each other at every product, and whoever else uses one for a moment stops them all.
WORTH = 5_000_000_000


class Processors:
    """So many of them, for `side_by_side` batches; from any thread."""

    def __init__(self, count: int) -> None:
        self._count = count
        self.side_by_side = min(count, MOST)
        self._lock = threading.Lock()
        self._busy = 0

    @contextmanager
    def taken(self, weights: int, batch: Batch) -> Iterator[None]:
        """The calling thread has its share meanwhile; all of them for a text alone that is long.

        `weights` are the model's bytes.
        """
        with self._lock:
            self._busy += 1
            alone = self._busy == 1
        try:
            whole = alone and len(batch.lengths) == 1 and batch.lengths[0] * weights >= WORTH
            threads.use(self._count if whole else self._count // self.side_by_side)
            yield
        finally:
            with self._lock:
                self._busy -= 1
