"""How often each model is used, loaded or not, so that a reload does not start at zero."""

import math

from embedwell.cache.usage import HALF_LIFE, Usage
from embedwell.errors import PluginError

MOST = 4096  # models; beyond, the one used longest ago is forgotten


class Rates:
    """Usage by key, least recently used first."""

    def __init__(self, half_life: float = HALF_LIFE, most: int = MOST) -> None:
        self._half_life = half_life
        self._most = most
        self._usage: dict[str, Usage] = {}

    def touch(self, key: str, now: float) -> None:
        """One more request."""
        usage = self._usage.pop(key, Usage())
        self._usage[key] = usage.touched(now, self._half_life)
        if len(self._usage) > self._most:
            del self._usage[next(iter(self._usage))]

    def of(self, key: str, now: float) -> float:
        """Requests a second, decayed; 0 for a model that nobody asked for."""
        return self._usage.get(key, Usage()).faded(now, self._half_life)


def half_life_of(strategy: object) -> float:
    """What the strategy's optional attribute `half_life` (seconds) says; raises PluginError."""
    stated = getattr(strategy, "half_life", HALF_LIFE)
    if not isinstance(stated, int | float) or not (stated > 0 and math.isfinite(stated)):
        name = type(strategy).__name__
        raise PluginError(f"The cache strategy {name} has a half_life that is no positive number")
    return float(stated)
