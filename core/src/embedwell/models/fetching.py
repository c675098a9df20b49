"""Models that a source brings while requests wait: one task for all of them."""

import asyncio

from embedwell.errors import EmbedwellError, Loading, SourceError, TaskNotFound
from embedwell.interfaces.models import Fetch, ModelRef, Snapshot
from embedwell.interfaces.tasks import Tasks

RETRY_AFTER = 10.0


class Fetching:
    """Which task brings which tag; loop only. `patience` is in seconds."""

    def __init__(self, tasks: Tasks, patience: float) -> None:
        self._tasks = tasks
        self._patience = patience
        self._under_way: dict[ModelRef, tuple[str, str]] = {}  # the source, the task's id

    def start(self, ref: ModelRef, source: str, fetch: Fetch) -> None:
        """Unless it is under way for another tag already."""
        task = self._tasks.start("download", str(fetch.key), fetch.run)
        self._under_way[ref] = (source, task.id)

    def under_way(self, ref: ModelRef) -> bool:
        """Whether a task brings it now."""
        found = self._under_way.get(ref)
        if found is None:
            return False
        try:
            if self._tasks.get(found[1]).status in ("queued", "running"):
                return True
        except TaskNotFound:
            pass
        del self._under_way[ref]  # it ended when nobody waited any more
        return False

    def forget(self) -> None:
        """Who comes next asks the sources anew; the tasks go on."""
        self._under_way.clear()

    async def result(self, ref: ModelRef) -> tuple[Snapshot, bool]:
        """What was brought, and whether it still is what the tag stands for.

        Raises Loading once patience is over, SourceError, or what the source raised.
        """
        source, id = self._under_way[ref]  # noqa: A001 - what the tasks call it
        limit = asyncio.timeout(self._patience)
        try:
            async with limit:
                found = await self._tasks.result(id)
        except TimeoutError:
            if limit.expired():
                message = f"Model is being downloaded: {ref}"
                raise Loading(message, retry_after=RETRY_AFTER) from None
            self._ended(ref, id)
            raise SourceError(f"Source {source} timed out while fetching {ref}") from None
        except Exception as error:
            self._ended(ref, id)
            raise _failed(ref, source, error) from None
        current = self._ended(ref, id)
        if not isinstance(found, Snapshot):
            raise SourceError(f"Source {source} fetched {ref} but gave no snapshot")
        return found, current

    def _ended(self, ref: ModelRef, id: str) -> bool:
        """Whether nothing changed meanwhile; of many who waited the first ends it."""
        if self._under_way.get(ref, ("", ""))[1] != id:
            return False
        del self._under_way[ref]
        return True


def _failed(ref: ModelRef, source: str, error: Exception) -> EmbedwellError:
    if isinstance(error, TaskNotFound):
        return SourceError(f"The download was cancelled: {ref}")
    if isinstance(error, EmbedwellError) and type(error) is not EmbedwellError:
        return error
    return SourceError(f"Source {source} failed to fetch {ref}; the server's log has the reason")
