"""What is seen of a server while all connections are busy."""

import asyncio
from array import array
from collections.abc import Callable
from time import monotonic_ns, process_time_ns

from msgspec import Struct, field

from embedwell.bench.answers import reason, tokens
from embedwell.bench.framing import Answer

SAMPLE_BYTES = 64_000_000  # of answers that are kept to be checked


class Seen(Struct):
    """`begun`, `ended` and `tokens` have a value per answer of status 200, times in ns.

    `failures` counts by kind, `examples` has what the first of a kind said; `limited` are the 429.
    """

    opened: int = 0
    closed: int = 0
    cpu: int = 0  # ns of this process, all threads, from opened to closed
    begun: "array[int]" = field(default_factory=lambda: array("q"))
    ended: "array[int]" = field(default_factory=lambda: array("q"))
    tokens: "array[int]" = field(default_factory=lambda: array("q"))
    failures: dict[str, int] = {}
    examples: dict[str, str] = {}
    limited: int = 0
    samples: dict[int, bytes] = {}  # whole answers, by their place in the arrays


class Window:
    """Opens when every connection has had an outcome, so that neither the first nor the last
    requests in flight bend the rate; closes `seconds` later. What is in flight then is waited for.
    """

    def __init__(
        self, take: Callable[[], bytes], connections: int, seconds: float, every: int
    ) -> None:
        self._take, self._seconds, self._every = take, seconds, every
        self._unsettled = set(range(connections))
        self._room = SAMPLE_BYTES
        self._cpu = 0
        self.seen = Seen()
        self.over = asyncio.Event()

    def take(self) -> bytes | None:
        return None if self.over.is_set() else self._take()

    def answered(self, slot: int, begun: int, ended: int, answer: Answer) -> None:
        if self._unsettled:
            self._settle(slot)
        elif answer.status == 200:
            self._keep(begun, ended, answer.body)
        elif answer.status == 429:
            self.seen.limited += 1
        else:
            self._count(f"status {answer.status}", reason(answer.body))

    def failed(self, slot: int, begun: int, kind: str) -> None:
        if self._unsettled:
            self._settle(slot)
        else:
            self._count(kind, "")

    def _settle(self, slot: int) -> None:
        self._unsettled.discard(slot)
        if not self._unsettled:
            self.seen.opened = monotonic_ns()
            self._cpu = process_time_ns()
            asyncio.get_running_loop().call_later(self._seconds, self._close)

    def _close(self) -> None:
        self.seen.closed = monotonic_ns()
        self.seen.cpu = process_time_ns() - self._cpu
        self.over.set()

    def _keep(self, begun: int, ended: int, body: bytes) -> None:
        seen = self.seen
        if len(seen.begun) % self._every == 0 and len(body) <= self._room:
            seen.samples[len(seen.begun)] = body
            self._room -= len(body)
        seen.begun.append(begun)
        seen.ended.append(ended)
        seen.tokens.append(tokens(body))

    def _count(self, kind: str, example: str) -> None:
        self.seen.failures[kind] = self.seen.failures.get(kind, 0) + 1
        self.seen.examples.setdefault(kind, example)
