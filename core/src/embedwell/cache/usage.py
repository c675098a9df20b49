"""How often a model is used, as a rate that fades."""

from math import exp, log

from msgspec import Struct

HALF_LIFE = 600.0  # seconds


class Usage(Struct, frozen=True):
    """Requests a second, decayed exponentially, as of `at` (seconds)."""

    rate: float = 0.0
    at: float = 0.0

    def faded(self, now: float) -> float:
        """The rate at `now`."""
        return self.rate * exp(-log(2) * max(0.0, now - self.at) / HALF_LIFE)

    def touched(self, now: float) -> "Usage":
        """After one more request; a steady stream of n a second converges to n."""
        return Usage(self.faded(now) + log(2) / HALF_LIFE, now)
