"""How often a model is used, as a rate that fades."""

from math import exp, log

from msgspec import Struct

HALF_LIFE = 600.0  # seconds, where the strategy states none


class Usage(Struct, frozen=True):
    """Requests a second, decayed exponentially, as of `at`; times and half-lives in seconds."""

    rate: float = 0.0
    at: float = 0.0

    def faded(self, now: float, half_life: float = HALF_LIFE) -> float:
        """The rate at `now`."""
        return self.rate * exp(-log(2) * max(0.0, now - self.at) / half_life)

    def touched(self, now: float, half_life: float = HALF_LIFE) -> "Usage":
        """After one more request; a steady stream of n a second converges to n."""
        return Usage(self.faded(now, half_life) + log(2) / half_life, now)
