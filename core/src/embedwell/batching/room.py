"""How many tokens may be under way: in all, and of one model."""

from collections.abc import Iterator
from contextlib import contextmanager
from math import inf

from embedwell.errors import Overloaded

LEAST = 4_096  # tokens that are always taken: the rate may come from one small, slow batch
MODEL_SHARE = 0.8  # of the room: one busy model cannot lock the others out


class Room:
    """Counts tokens from tokenising to answer; what nobody uses takes any legal request.

    At most `limit` tokens, and no more than the device computes in `seconds`: whoever would
    get no answer in time is told now.
    """

    def __init__(self, limit: int, seconds: float) -> None:
        self._limit = limit
        self._seconds = seconds
        self._total = 0
        self._models: dict[str, int] = {}

    @property
    def total(self) -> int:
        return self._total

    @contextmanager
    def enter(self, model: str, tokens: int, tokens_per_second: float) -> Iterator[None]:
        """Raises Overloaded, saying when to come again."""
        held = self._models.get(model, 0)
        too_many = self._total + tokens > self._limit
        too_many_of_one = held + tokens > self._limit * MODEL_SHARE
        in_time = max(LEAST, tokens_per_second * self._seconds) if tokens_per_second else inf
        too_slow = self._total + tokens > in_time
        if (self._total and (too_many or too_slow)) or (held and too_many_of_one):
            raise Overloaded(  # an operator's remedy is batching.max_queued_tokens
                f"Too much work is queued: {self._total} tokens wait, this request adds {tokens}",
                retry_after=_seconds_until_room(self._total, tokens_per_second),
            )
        self._total += tokens
        self._models[model] = held + tokens
        try:
            yield
        finally:
            self._leave(model, tokens)

    def _leave(self, model: str, tokens: int) -> None:
        self._total -= tokens
        self._models[model] -= tokens
        if not self._models[model]:
            del self._models[model]


def _seconds_until_room(queued: int, tokens_per_second: float) -> float:
    """Half of the queue's work at the rate seen last, between one second and thirty."""
    if not tokens_per_second:
        return 1.0
    return min(30.0, max(1.0, queued / 2 / tokens_per_second))
