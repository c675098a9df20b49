"""How many tokens may be under way: in all, and of one model."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf

from embedwell.errors import Overloaded

ALWAYS_TAKEN = 4_096  # tokens: the rate may come from one small, slow batch
MODEL_SHARE = 0.8  # of the room: one busy model cannot lock the others out


class Room:
    """Counts tokens from tokenising to answer; what nobody uses takes any legal request.

    At most `limit` tokens, and nobody behind more than the device computes in `seconds`: whoever
    would get no answer in time is told now. What waits for another model to load is not before
    it, nor is its own work: a stream of small requests would refuse a large one for ever.
    """

    def __init__(self, limit: int, seconds: float) -> None:
        self._limit = limit
        self._seconds = seconds
        self._total = 0
        self._models: dict[str, int] = {}
        self._cold: dict[str, int] = {}  # of them, those whose model is not loaded yet

    @property
    def total(self) -> int:
        return self._total

    @contextmanager
    def enter(
        self, model: str, tokens: int, tokens_per_second: float
    ) -> Iterator[Callable[[], None]]:
        """Yields what is called when the model is loaded; raises Overloaded, saying when to come
        again.
        """
        held = self._models.get(model, 0)
        too_many = self._total + tokens > self._limit
        too_many_of_one = held + tokens > self._limit * MODEL_SHARE
        in_time = max(ALWAYS_TAKEN, tokens_per_second * self._seconds) if tokens_per_second else inf
        elsewhere = sum(self._cold.values()) - self._cold.get(model, 0)
        too_slow = self._total - elsewhere > in_time
        if (self._total and (too_many or too_slow)) or (held and too_many_of_one):
            raise Overloaded(  # an operator's remedy is batching.max_queued_tokens
                f"Too much work is queued: {self._total} tokens wait, this request adds {tokens}",
                retry_after=_seconds_until_room(self._total, tokens_per_second),
            )
        self._total += tokens
        place = _Place(self._cold, model, tokens)
        _add(self._models, model, tokens)
        try:
            yield place.loaded
        finally:
            place.loaded()
            _add(self._models, model, -tokens)
            self._total -= tokens


class _Place:
    """A request's tokens among those that wait for their model."""

    def __init__(self, cold: dict[str, int], model: str, tokens: int) -> None:
        self._cold, self._model, self._tokens = cold, model, tokens
        _add(cold, model, tokens)

    def loaded(self) -> None:
        """They wait for the device now; said twice, it is so already."""
        _add(self._cold, self._model, -self._tokens)
        self._tokens = 0


def _add(counts: dict[str, int], model: str, tokens: int) -> None:
    counts[model] = counts.get(model, 0) + tokens
    if not counts[model]:
        del counts[model]


def _seconds_until_room(queued: int, tokens_per_second: float) -> float:
    """Half of the queue's work at the rate seen last, between one second and thirty."""
    if not tokens_per_second:
        return 1.0
    return min(30.0, max(1.0, queued / 2 / tokens_per_second))
