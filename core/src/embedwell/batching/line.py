"""What waits for the device's threads, and which of them is called for it."""

import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol


class Work(Protocol):
    """Something that the device does; `perform` runs in one of the device's threads."""

    def perform(self) -> Any: ...


class Worker:
    """One thread, and the work it runs; a line's own."""

    def __init__(self, lock: threading.Lock) -> None:
        self.changed = threading.Condition(lock)
        self.called = False  # there was work for it, which it has not looked for yet
        self.running: Work | None = None
        self.began = 0.0
        self.lost = False  # given up: whatever it still returns is not wanted

    def call(self) -> None:
        """Let it look for work; under the lock."""
        self.called = True
        self.changed.notify()


class Line:
    """Work in order, each taken by a worker as soon as one is free; from any thread.

    Of several workers that wait the first is called, so that what comes one by one stays in one
    thread: with what that has in its processor's cache, and with the threads that help it.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting: deque[Work] = deque()
        self._workers: list[Worker] = []
        self.closed = False

    def worker(self) -> Worker:
        """One for a thread to take with; it counts when it has joined."""
        return Worker(self._lock)

    def join(self, worker: Worker) -> None:
        """Its thread runs."""
        with self._lock:
            self._workers.append(worker)

    def put(self, work: Work) -> None:
        """Behind what was put before."""
        with self._lock:
            self._waiting.append(work)
            # As many as there is work for may be called already, for some that was retracted.
            if sum(worker.called for worker in self._workers) < len(self._waiting):
                self._call_one()

    def _call_one(self) -> None:
        free = (w for w in self._workers if w.running is None and not w.called)
        worker = next(free, None)
        if worker is not None:
            worker.call()

    def retract(self) -> tuple[list[Work], int]:
        """Take back what nobody has begun, in order; and how many workers have nothing to do."""
        with self._lock:
            taken = list(self._waiting)
            self._waiting.clear()
            return taken, len(self._workers) - self._count_busy()

    def _count_busy(self) -> int:
        return sum(worker.running is not None for worker in self._workers)

    def lose(self, work: Work, after: float) -> tuple[float, float]:
        """When it was begun, and its seconds since, 0 before; after so many its worker is lost."""
        with self._lock:
            worker = next((w for w in self._workers if w.running is work), None)
            if worker is None:
                return self._clock(), 0.0
            elapsed = self._clock() - worker.began
            if elapsed >= after:
                worker.lost = True
                self._workers.remove(worker)
            return worker.began, elapsed

    def close(self) -> None:
        """Let the workers end after what they run."""
        with self._lock:
            self.closed = True
            for worker in self._workers:
                worker.call()

    def take(self, worker: Worker) -> Work | None:
        """The next, once there is one; None when the line is closed."""
        with self._lock:
            while not self._waiting and not self.closed:
                worker.called = False
                worker.changed.wait()
            worker.called = False
            if self.closed:
                return None
            worker.running = self._waiting.popleft()
            worker.began = self._clock()
            return worker.running

    def leave(self, worker: Worker) -> tuple[float, float, int] | None:
        """When what it took was begun, its seconds, and how many ran something as it ended.

        None for a worker that was lost meanwhile.
        """
        with self._lock:
            seconds = self._clock() - worker.began
            abreast = self._count_busy()
            worker.running = None
            return None if worker.lost else (worker.began, seconds, abreast)
