"""Background work as clients see it."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal, Protocol

from msgspec import Struct

from embedwell.interfaces.models import Progress

TaskStatus = Literal["queued", "running", "done", "failed", "cancelled"]


class Task(Struct, frozen=True, kw_only=True):
    """A task at one moment; times are Unix seconds.

    It is queued until its work first tells how far it is: so what waits for its turn says
    nothing before. `done` and `total` are bytes, for a preload models.
    """

    id: str
    kind: str
    key: str
    status: TaskStatus
    done: int = 0
    total: int | None = None
    error: str | None = None
    created: float = 0.0
    finished: float | None = None


class Tasks(Protocol):
    """Runs background work that nobody's request owns; loop only."""

    def start(self, kind: str, key: str, run: Callable[[Progress], Awaitable[Any]]) -> Task:
        """Start it, or return the one under way for the same kind and key."""

    async def result(self, id: str) -> Any:
        """What `run` returned; its exception is raised to everyone who waits; shielded."""

    def get(self, id: str) -> Task:
        """Raises TaskNotFound."""

    def list(self) -> Sequence[Task]: ...

    async def cancel(self, id: str) -> Task:
        """Raises TaskNotFound."""

    def remove(self, id: str) -> None:
        """Forget a finished task; raises TaskNotFound, Conflict while it runs."""
