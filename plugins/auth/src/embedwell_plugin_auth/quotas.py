"""How much a key may ask for: token buckets. Pure: the time is given."""

from embedwell import RateLimited
from embedwell_plugin_auth.config import Key

MINUTE = 60.0


class Bucket:
    """Holds a minute's worth at most and fills evenly; what is spent beyond it is a debt."""

    def __init__(self, per_minute: int, now: float) -> None:
        self._size = self._level = float(per_minute)
        self._per_second = per_minute / MINUTE
        self._filled = now

    def wait(self, now: float) -> float:
        """Seconds until there is one to spend; 0 where there is."""
        self._fill(now)
        return max(0.0, (1 - self._level) / self._per_second)

    def spend(self, amount: int, now: float) -> None:
        """Takes it whether or not it is there."""
        self._fill(now)
        self._level -= amount

    def _fill(self, now: float) -> None:
        self._level = min(self._size, self._level + (now - self._filled) * self._per_second)
        self._filled = now


class Quota:
    """What one key may still ask for, by requests and by tokens.

    How many tokens a request has is known once it was tokenised, and paid for after its answer. So
    a key may come to owe some: it waits until they are made up for, and on average keeps its limit.
    """

    def __init__(self, name: str, key: Key, now: float) -> None:
        self._name, self._key = name, key
        self._requests = Bucket(key.requests_per_minute, now) if key.requests_per_minute else None
        self._tokens = Bucket(key.tokens_per_minute, now) if key.tokens_per_minute else None

    def admit(self, now: float, *, embeds: bool) -> None:
        """Counts one request; raises RateLimited, and counts nothing, where there are too many."""
        if embeds and self._tokens and (wait := self._tokens.wait(now)):
            raise self._used_up(self._key.tokens_per_minute, "tokens", wait)
        if self._requests:
            if wait := self._requests.wait(now):
                raise self._used_up(self._key.requests_per_minute, "requests", wait)
            self._requests.spend(1, now)

    def charge(self, tokens: int, now: float) -> None:
        """For what a request turned out to have."""
        if self._tokens:
            self._tokens.spend(tokens, now)

    def _used_up(self, limit: int, what: str, wait: float) -> RateLimited:
        message = f'The key "{self._name}" has used up its {limit:,} {what} a minute'
        return RateLimited(message, retry_after=wait, caller=self._name)
