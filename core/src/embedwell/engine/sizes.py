"""How many rows the products of a packed pass have: few numbers, and more where it pays.

oneDNN makes the code of a product for its exact number of rows and keeps it, a megabyte each. A
model could have two hundred of them, and under many loads most would be for sizes that come once in
a thousand passes.
"""

import threading
from collections import Counter

from embedwell.engine import packing

ROUGH = 4  # sizes from one power of two to the next
OFTEN = 16  # times in AGE passes, and a finer size has code of its own from then on
AGE = 1024  # passes, after which counting begins anew


class Sizes:
    """Of one model's packed passes; from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._common: set[int] = set()
        self._counts: Counter[int] = Counter()
        self._passes = 0

    def tail(self, tokens: int) -> int:
        """How many rows a pass over so many tokens has beyond them."""
        fine, rough = packing.tail(tokens), packing.tail(tokens, ROUGH)
        with self._lock:
            self._count(tokens + fine)
            return fine if tokens + fine in self._common else rough

    def _count(self, size: int) -> None:
        self._counts[size] += 1
        if self._counts[size] == OFTEN:
            self._common.add(size)
        self._passes += 1
        if self._passes == AGE:
            self._passes = 0
            self._counts.clear()
