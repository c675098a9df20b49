"""Requests per tag and UTC day: kept in memory, written through, there again after a restart.

The clock is believed as it stands. After it went back, requests count for the day it shows now,
and a tag that seemed to appear later appeared then; days ahead of it stay in the answer while
they have requests. Nothing is ever dropped because of what the clock says.
"""

import heapq
from collections.abc import Callable, Iterable
from datetime import date, timedelta
from typing import Self

from embedwell.state.database import Database

MOST = 10_000  # tags
LEAVING = 100  # tags forgotten at once, so that a flood of new ones is not a search each
DAYS = 1_096  # kept of each tag, and shown: three years
RECENT = 7  # days that count first for `most_used`
EPOCH = date(1970, 1, 1)
LAST = (date.max - EPOCH).days

PUT_TAG = (
    "INSERT INTO tags (tag, first) VALUES (?, ?) "
    "ON CONFLICT (tag) DO UPDATE SET first = excluded.first"
)
PUT_COUNT = (
    "INSERT INTO counts (tag, day, requests) VALUES (?, ?, ?) "
    "ON CONFLICT (tag, day) DO UPDATE SET requests = excluded.requests"
)


class _Tag:
    """One tag: `first` is the day it appeared, `requests` those of days that had any."""

    def __init__(self, first: int) -> None:
        self.first = first
        self.requests: dict[int, int] = {}
        self.total = 0

    def add(self, day: int, requests: int) -> None:
        self.requests[day] = self.requests.get(day, 0) + requests
        self.total += requests

    def since(self, day: int) -> int:
        return sum(n for d, n in self.requests.items() if d >= day)

    @property
    def worth(self) -> tuple[int, int]:
        return self.total, max(self.requests, default=self.first)


class Counters:
    """Made by `open`; loop only. `wall` is Unix seconds.

    At most 10,000 tags are remembered. For a new one that is requested beyond them, those with
    the fewest requests leave, of equals those idle the longest: made-up names push out each
    other, not the models in use. A tag that is only listed then waits for its first request.
    """

    def __init__(self, database: Database, wall: Callable[[], float]) -> None:
        self._database = database
        self._wall = wall
        self._tags: dict[str, _Tag] = {}

    @classmethod
    async def open(cls, database: Database, wall: Callable[[], float]) -> Self:
        """With all that was counted before."""
        counters = cls(database, wall)
        for tag, first in await database.read("SELECT tag, first FROM tags"):
            counters._tags[tag] = _Tag(first)
        for tag, day, requests in await database.read("SELECT tag, day, requests FROM counts"):
            if tag in counters._tags:
                counters._tags[tag].add(day, requests)
        return counters

    def count(self, tag: str) -> None:
        """One request more."""
        day = self._today()
        known = self._tags.get(tag)
        if known is None:
            self._make_room()
            known = self._appear(tag, day)
        elif day < known.first:
            known.first = day
            self._database.execute(PUT_TAG, (tag, day), ("tags", tag))
        known.add(day, 1)
        self._database.execute(PUT_COUNT, (tag, day, known.requests[day]), ("counts", tag, day))
        if len(known.requests) > DAYS:
            self._drop_oldest(tag, known)

    def seen(self, tags: Iterable[str]) -> None:
        """These are listed: those not known yet appear today, without requests."""
        for tag in tags:
            if tag not in self._tags and len(self._tags) < MOST:
                self._appear(tag, self._today())

    def days(self, tag: str) -> dict[str, int] | None:
        """Requests of every UTC day since it appeared, as YYYY-MM-DD; None for a tag unknown."""
        known = self._tags.get(tag)
        if known is None:
            return None
        today = self._today()
        begin = max(known.first, today - DAYS + 1)
        ahead = sorted(day for day in known.requests if day > today)
        shown = [*range(begin, today + 1), *ahead] or [known.first]
        return {_iso(day): known.requests.get(day, 0) for day in shown}

    def most_used(self, n: int) -> list[str]:
        """At most `n` tags that had requests: by those of the last seven days, then by all."""
        recent = self._today() - RECENT + 1
        used = ((-k.since(recent), -k.total, tag) for tag, k in self._tags.items() if k.total)
        return [tag for _, _, tag in heapq.nsmallest(n, used)]

    def _today(self) -> int:
        return min(max(int(self._wall() // 86_400), 0), LAST)

    def _appear(self, tag: str, day: int) -> _Tag:
        self._tags[tag] = known = _Tag(day)
        self._database.execute(PUT_TAG, (tag, day), ("tags", tag))
        return known

    def _make_room(self) -> None:
        if len(self._tags) < MOST:
            return
        for tag in heapq.nsmallest(LEAVING, self._tags, key=lambda t: self._tags[t].worth):
            del self._tags[tag]
            self._database.execute("DELETE FROM tags WHERE tag = ?", (tag,), ("tags", tag))
            self._database.execute("DELETE FROM counts WHERE tag = ?", (tag,), ("counts", tag))

    def _drop_oldest(self, tag: str, known: _Tag) -> None:
        oldest = min(known.requests)
        del known.requests[oldest]
        sql = "DELETE FROM counts WHERE tag = ? AND day = ?"
        self._database.execute(sql, (tag, oldest), ("counts", tag, oldest))


def _iso(day: int) -> str:
    return (EPOCH + timedelta(days=day)).isoformat()
