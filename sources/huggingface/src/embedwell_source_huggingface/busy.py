"""Which repositories somebody is at work on; loop only."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class Busy:
    """Counts those at work on each repository."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._idle: dict[str, asyncio.Event] = {}

    def __contains__(self, repo: str) -> bool:
        return repo in self._counts

    @contextmanager
    def at(self, repo: str) -> Iterator[None]:
        """At work on it until the block ends."""
        self._counts[repo] += 1
        try:
            yield
        finally:
            self._counts[repo] -= 1
            if not self._counts[repo]:
                del self._counts[repo]
                self._idle.pop(repo, asyncio.Event()).set()

    async def idle(self, repo: str) -> None:
        """Returns when nobody is at work on it."""
        while repo in self._counts:
            await self._idle.setdefault(repo, asyncio.Event()).wait()
