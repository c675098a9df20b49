"""Everything that outlives a restart, from one file."""

from collections.abc import Callable
from pathlib import Path
from typing import Self

from embedwell.state.costs import Costs
from embedwell.state.counters import Counters
from embedwell.state.database import Database
from embedwell.state.tasks import TaskJournal


class State:
    """Counters, learned costs and the journal of tasks; loop only."""

    def __init__(
        self, database: Database, counters: Counters, costs: Costs, journal: TaskJournal
    ) -> None:
        self._database = database
        self.counters = counters
        self.costs = costs
        self.journal = journal

    @classmethod
    async def open(cls, path: Path, wall: Callable[[], float]) -> Self:
        """Makes the file where there is none; raises ConfigurationError. `wall` is Unix seconds."""
        database = await Database.open(path)
        try:
            counters = await Counters.open(database, wall)
            costs = await Costs.open(database)
            return cls(database, counters, costs, await TaskJournal.open(database, wall))
        except BaseException:
            await database.aclose()
            raise

    async def aclose(self) -> None:
        """Writes what is queued."""
        await self._database.aclose()
