"""Who computes with how many processors.

Batches run side by side, a processor or an equal share each, rather than one after the other on
all: products that share processors wait for the slowest of them at every step, a hundred times in a
forward pass, and whoever else uses one for a moment, the event loop above all, stops them all.

One text that comes alone may have them all. Whether that pays is measured: on two idle processors
it takes little more than half the time, beside one busy program three times as long.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import ceil

from embedwell.engine.cpu import threads
from embedwell.engine.cpu.faster import Faster
from embedwell.engine.cpu.helped import Helped
from embedwell.engine.packing import tail
from embedwell.engine.sizes import ROUGH
from embedwell.interfaces.encoders import Batch

MOST = 8  # batches side by side: activations take memory


class Processors:
    """So many of them, for `side_by_side` batches; from any thread."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.side_by_side = count // ceil(count / MOST)  # equal shares; some may be left over
        self.each = count // self.side_by_side  # processors of a batch
        self._lock = threading.Lock()
        self._busy = 0
        self._helped = Helped()

    @contextmanager
    def entered(self, batch: Batch) -> Iterator[bool]:
        """The batch counts while it is inside; whether the calling thread may have them all.

        No thread may while a batch hangs.
        """
        with self._lock:
            self._busy += 1
            alone = self._busy == 1 and len(batch.lengths) == 1
            whole = alone and self.count > 1 and self._helped.count_caller()
        try:
            yield whole
        finally:
            with self._lock:
                self._busy -= 1


class Allotment:
    """What one model's batches have of them; from any thread."""

    def __init__(
        self, processors: Processors, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._processors = processors
        self._clock = clock
        self._ways = (processors.each, processors.count)
        self._pays: defaultdict[int, Faster] = defaultdict(Faster)  # by a product's rows, about

    @contextmanager
    def taken(self, batch: Batch) -> Iterator[None]:
        """The calling thread has its share; all of them for one text, alone, if that is faster."""
        with self._processors.entered(batch) as whole:
            if not whole:
                threads.use(self._ways[0])
                yield
                return
            pays = self._pays[batch.lengths[0] + tail(batch.lengths[0], ROUGH)]
            way = pays.choose()
            threads.use(self._ways[way])
            began = self._clock()
            yield
            pays.note(way, self._clock() - began)
