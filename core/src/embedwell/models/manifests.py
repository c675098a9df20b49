"""Manifests of the models in use, each read once."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from embedwell.interfaces.models import Manifest, Snapshot
from embedwell.interfaces.services import Threads


class Manifests:
    """Reads in a thread, once per content however many ask; keeps the last `capacity`."""

    def __init__(
        self, threads: Threads, read: Callable[[Path], Manifest], capacity: int = 1000
    ) -> None:
        self._threads = threads
        self._read = read
        self._capacity = capacity
        self._kept: OrderedDict[str, asyncio.Task[Manifest]] = OrderedDict()

    async def of(self, snapshot: Snapshot) -> Manifest:
        """Raises InvalidModel; a failure is not remembered."""
        task = self._kept.get(snapshot.digest)
        if task is None:
            task = asyncio.get_running_loop().create_task(
                self._threads.run(self._read, snapshot.path)
            )
            self._kept[snapshot.digest] = task
            task.add_done_callback(lambda done: self._drop_failed(snapshot.digest, done))
            while len(self._kept) > self._capacity:
                self._kept.popitem(last=False)
        self._kept.move_to_end(snapshot.digest)
        return task.result() if task.done() else await asyncio.shield(task)

    def _drop_failed(self, digest: str, task: "asyncio.Task[Manifest]") -> None:
        failed = task.cancelled() or task.exception() is not None
        if failed and self._kept.get(digest) is task:
            del self._kept[digest]

    async def aclose(self) -> None:
        """Cancel what is being read."""
        tasks = list(self._kept.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
