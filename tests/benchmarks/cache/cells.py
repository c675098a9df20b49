"""What the cache simulation will show, written down before any strategy was tuned.

Nothing here may be changed to let a strategy pass. Tuning looks at TUNING seeds only; JUDGING
seeds are for the report.
"""

from itertools import product
from typing import Literal

from msgspec import Struct

Load = Literal["static", "shift", "scan", "burst", "diurnal", "pingpong", "loop"]

ZIPFS = (0.6, 0.9, 1.2)
LOADS: tuple[Load, ...] = ("static", "shift", "scan", "burst", "diurnal", "pingpong", "loop")
FRACTIONS = (0.25, 0.50, 0.75)  # of the bytes of the hot set

# The hot set is the smallest number of models, most popular first, that get this share of the
# requests of a Zipf's popularity; its bytes are their weights and the largest peak. It depends on
# seed and Zipf alone, so that one and the same device meets all the loads. A device always holds
# the largest model by itself: every policy serves every request.
HOT_SHARE = 0.8

MODELS = 48  # half small, 35 % middling, 15 % large; popularity is independent of size
SIZES = ((0.50, 0.15e9, 0.6e9), (0.35, 0.8e9, 2.5e9), (0.15, 7e9, 16e9))  # share, bytes from, to
PEAK = 0.1  # of the weights: a model's own peak; only the largest counts
START_SECONDS = 1.5
BYTES_A_SECOND = 1.2e9

REQUESTS = 3000
GAP_SECONDS = 4.0  # mean between arrivals, exponential

SHIFTS = 3  # times that popularity is dealt out anew, evenly spaced
SCANS = 5  # times that each model is asked for once, one after the other
BURST_STARTS = 1 / 60  # chance a request that a burst begins, of a model drawn evenly
BURST_SHARE = 0.5  # of the requests while it lasts
BURST_LENGTH = 30  # its requests
DAY_SECONDS = 6000.0  # popularity of each model swings once a day, each at its own hour
DAY_SWING = 0.9
PINGPONG_SHARE = 0.1  # of the requests go to the two largest models in turn
LOOP_BYTES = 1.15  # times the capacity: models asked for in a fixed round
LOOP_SHARE = 0.7  # of the requests; the rest are of the Zipf's

TUNING = tuple(range(100, 110))
JUDGING = tuple(range(200, 210))
RESAMPLES = 2000  # of the paired bootstrap
CONFIDENCE = 0.95

# Accepted when, against LRU by count (`fixed_size` with as many models as fit on the average):
MEAN = 0.95  # the mean ratio of reload seconds over the seeds is at most this, and
SHARE = 0.80  # its confidence interval lies below 1, in at least this share of the cells;
ROOMY_MEAN = 0.85  # in each cell with ROOMY or more of the hot set, the mean is at most this;
ROOMY = 0.50
WORST = 1.02  # and in no cell at all is it above this.


class Cell(Struct, frozen=True):
    """One load on one size of device."""

    load: Load
    zipf: float
    fraction: float

    @property
    def name(self) -> str:
        return f"{self.load} {self.zipf} {self.fraction:.0%}"


CELLS = tuple(Cell(load, zipf, part) for load, zipf, part in product(LOADS, ZIPFS, FRACTIONS))
