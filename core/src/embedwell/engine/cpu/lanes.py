"""A batch in parts that run side by side, each with processors of its own.

Products that share all processors wait for the slowest of them at every step, a hundred times in
a forward pass; whoever else uses a processor for a moment, the event loop above all, then stops
them all. Parts meet once, at the end.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from embedwell.engine.cpu import threads

T = TypeVar("T")
LEAST = 64  # tokens of a part; fewer are quicker together
FEW = 128  # tokens that one processor computes before others would have been woken


class Lanes:
    """For the thread that first uses it: one that hangs is replaced with all its lanes."""

    def __init__(self, processors: int) -> None:
        self._processors = processors
        self._local = threading.local()

    def count(self, tokens: int, texts: int) -> int:
        """In how many parts a batch runs best."""
        return max(1, min(self._processors, texts, tokens // LEAST))

    def run(self, parts: Sequence[Callable[[], T]], tokens: int) -> list[T]:
        """What each part returns, in their order; raises what the first that failed raised."""
        if len(parts) == 1:
            threads.use(1 if tokens < FEW else self._processors)
            return [parts[0]()]
        each = max(1, self._processors // len(parts))
        futures: list[Future[T]] = [
            lane.begin(part, each) for lane, part in zip(self._own(len(parts)), parts, strict=True)
        ]
        wait(futures)  # all of them: memory that one still uses must not be given away
        try:
            return list(map(Future.result, futures))
        finally:
            del futures  # or an error's own frames would keep it, and the tensors in them

    def _own(self, count: int) -> "list[_Lane[Any]]":
        lanes: list[_Lane[Any]] = getattr(self._local, "lanes", [])
        lanes += [_Lane() for _ in range(count - len(lanes))]
        self._local.lanes = lanes
        return lanes[:count]


class _Lane(Generic[T]):
    """A thread that ends with its owner, for nothing else refers to the lane."""

    def __init__(self) -> None:
        self._work: SimpleQueue[tuple[Callable[[], T], int, Future[T]] | None] = SimpleQueue()
        threading.Thread(
            target=_main, args=(self._work,), name="embedwell-lane", daemon=True
        ).start()

    def begin(self, part: Callable[[], T], processors: int) -> "Future[T]":
        future: Future[T] = Future()
        self._work.put((part, processors, future))
        return future

    def __del__(self) -> None:
        self._work.put(None)


def _main(work: "SimpleQueue[tuple[Callable[[], Any], int, Future[Any]] | None]") -> None:
    while (item := work.get()) is not None:
        _perform(*item)
        del item  # or its tensors stay until the next


def _perform(part: Callable[[], Any], processors: int, future: "Future[Any]") -> None:
    threads.use(processors)
    try:
        future.set_result(part())
    except BaseException as error:  # the owner raises it; nothing may end this thread
        future.set_exception(error)
        del future, part  # which the error's frames would keep, and it them
