"""Where tasks are written down, so that a restart does not forget them."""

from collections.abc import Sequence
from typing import Protocol

from embedwell.interfaces.tasks import Task


class Journal(Protocol):
    """Never raises and never waits; loop only."""

    def save(self, task: Task) -> None:
        """As it stands now, in place of what was saved of it before."""

    def remove(self, id: str) -> None: ...

    def load(self) -> Sequence[Task]:
        """Tasks of earlier runs, oldest first; all of them have ended."""


class NoJournal:
    """For those who keep tasks in memory only."""

    def save(self, task: Task) -> None:
        """Nothing."""

    def remove(self, id: str) -> None:
        """Nothing."""

    def load(self) -> Sequence[Task]:
        return ()
