"""What a loaded model is worth: the reload seconds a second that its place saves."""

from math import exp, log

from embedwell import Entry, Need

START = 1.5  # seconds that any load takes, where none was measured
BYTES_A_SECOND = 1.2e9  # the rest of such a load
GONE = 2.0  # mean gaps without a request, after which a model counts as less used than its rate


def one_request(half_life: float) -> float:
    """What a single request adds to a rate that decays with this half-life (seconds)."""
    return log(2) / half_life


def reload_seconds(need: Need, measured: float) -> float:
    """What bringing it back costs; `measured` is 0 where no load was timed."""
    return measured if measured > 0 else START + need.weights / BYTES_A_SECOND


def value(entry: Entry, now: float, half_life: float) -> float:
    """Expected reload seconds a second without it; `half_life` is that of its rate, in seconds."""
    return _rate(entry, now, half_life) * reload_seconds(entry.need, entry.load_seconds)


def _rate(entry: Entry, now: float, half_life: float) -> float:
    """Requests a second, from the decayed count and from the time since the last one.

    A model that was loaded and not used yet counts as used once then: a preload is a promise.
    """
    fade = exp(-log(2) * max(0.0, now - entry.loaded_at) / half_life)
    rate = max(entry.rate, one_request(half_life) * fade)
    idle = now - entry.last_used
    return min(rate, GONE / idle) if idle > 0 else rate
