"""Which of two ways is the faster: measured as they are used."""

from statistics import median

KEPT = 3  # times of each way: one that was held up decides nothing
EVERY = 128  # turns, in one of which the slower way is tried again


class Faster:
    """From any thread; a time may come late, or never."""

    def __init__(self) -> None:
        self._seconds: list[tuple[float, ...]] = [(), ()]
        self._turn = 0

    def choose(self) -> int:
        """0 or 1: the one with the smaller median, now and then the other; first both in turn."""
        self._turn += 1
        fewer = int(len(self._seconds[1]) < len(self._seconds[0]))
        if len(self._seconds[fewer]) < KEPT:
            return fewer
        best = int(median(self._seconds[1]) < median(self._seconds[0]))
        return best if self._turn % EVERY else 1 - best

    def note(self, way: int, seconds: float) -> None:
        """What it took."""
        self._seconds[way] = (*self._seconds[way], seconds)[-KEPT:]
