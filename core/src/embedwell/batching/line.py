"""What waits for the device's threads, and which of them is called for it."""

import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from msgspec import Struct


class Work(Protocol):
    """Something that the device does; `perform` runs in one of the device's threads."""

    def perform(self) -> Any: ...


class Turn(Struct, frozen=True):
    """Of a piece of work: times are seconds of the app's clock."""

    began: float
    seconds: float  # 0 as long as it waits
    abreast: int = 1  # workers that were running something at its end, its own among them


class Worker:
    """A thread's place in a line, and what it runs; read and changed under the line's lock."""

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

    `closed` is set once and for all.
    Of several workers that wait the first is called, so that what comes one by one stays in one
    thread: with what that has in its processor's cache, and with the threads that help it.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting: deque[Work] = deque()
        self._workers: list[Worker] = []
        self.closed = False

    def join(self) -> Worker:
        """A place for a thread that is to take with it."""
        worker = Worker(self._lock)
        with self._lock:
            self._workers.append(worker)
        return worker

    def part(self, worker: Worker) -> None:
        """It never takes."""
        with self._lock:
            self._workers.remove(worker)

    def put(self, work: Work) -> None:
        """Behind what was put before."""
        with self._lock:
            self._waiting.append(work)
            # A worker that was called for what is retracted has not looked yet: it takes this.
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

    def give_up(self, work: Work, limit: float) -> Turn:
        """Its turn so far; the worker that has had it for `limit` seconds or more is lost."""
        with self._lock:
            worker = next((w for w in self._workers if w.running is work), None)
            if worker is None:
                return Turn(self._clock(), 0.0, 0)
            turn = self._turn(worker)
            if turn.seconds >= limit:
                worker.lost = True
                self._workers.remove(worker)
            return turn

    def _turn(self, worker: Worker) -> Turn:
        return Turn(worker.began, self._clock() - worker.began, self._count_busy())

    def close(self) -> None:
        """Let the workers end after what they run."""
        with self._lock:
            self.closed = True
            for worker in self._workers:
                worker.call()

    def take(self, worker: Worker) -> Work | None:
        """The next, once there is one, for which it blocks; None when the line is closed."""
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

    def leave(self, worker: Worker) -> Turn | None:
        """The turn of what it took, which has ended; None for one that was lost meanwhile."""
        with self._lock:
            turn = self._turn(worker)
            worker.running = None
            return None if worker.lost else turn
