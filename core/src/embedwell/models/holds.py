"""Who reads from a snapshot's folder, so that no file goes while somebody does."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from embedwell.errors import ModelNotFound
from embedwell.interfaces.models import Snapshot

REMEMBERED = 10_000  # folders that are gone; answers that name older ones have long expired


class Gone(ModelNotFound):
    """The snapshot's files are gone: ask its source again."""


class Holds:
    """Counts the users of each folder; loop only."""

    def __init__(self) -> None:
        self._counts: dict[Path, int] = {}
        self._freed: dict[Path, asyncio.Event] = {}
        self._doomed: dict[Path, None] = {}

    @contextmanager
    def hold(self, snapshot: Snapshot) -> Iterator[None]:
        """Keep the snapshot's files until the block ends; raises Gone where they are not kept."""
        path = snapshot.path
        if path in self._doomed:
            raise Gone(str(snapshot.key))
        self._counts[path] = self._counts.get(path, 0) + 1
        try:
            yield
        finally:
            self._release(path)

    def held(self, path: Path) -> bool:
        return path in self._counts

    async def released(self, path: Path) -> None:
        """Returns when nobody holds this folder."""
        while path in self._counts:
            await self._freed.setdefault(path, asyncio.Event()).wait()

    def doom(self, path: Path) -> bool:
        """Give out no more holds of this folder; false, and no change, while somebody has one."""
        if path in self._counts:
            return False
        self._doomed[path] = None
        while len(self._doomed) > REMEMBERED:
            del self._doomed[next(iter(self._doomed))]
        return True

    def revive(self, path: Path) -> None:
        """The folder is complete and there to stay, again."""
        self._doomed.pop(path, None)

    def _release(self, path: Path) -> None:
        self._counts[path] -= 1
        if self._counts[path] == 0:
            del self._counts[path]
            event = self._freed.pop(path, None)
            if event is not None:
                event.set()
