"""The device's threads: they run work, answer with values, and are replaced when they hang."""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from msgspec import Struct

from embedwell.batching.jobs import Failure
from embedwell.interfaces.encoders import DeviceFailure, DeviceOutOfMemory

log = logging.getLogger("embedwell.batching")


class Work(Protocol):
    """Something that the device does; `perform` runs in one of the device's threads."""

    def perform(self) -> Any: ...


class Outcome(Struct, frozen=True):
    """What became of a piece of work; times are seconds of the app's clock."""

    result: Any  # of `perform`, or a Failure
    began: float
    seconds: float
    abreast: int = 1  # threads that were running something when it ended, its own among them


class _Worker:
    """One thread, and the work it runs."""

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


class Workers:
    """The device's threads, and what they take next: in order, each as soon as it is free.

    Of several that wait the first is called, so that what comes one by one stays in one thread:
    with what that has in its processor's cache, and with the threads that help it.

    `done(work, outcome)` is called on the loop for every piece of work, exactly once;
    `returned(work)` once its thread no longer uses it, which after a timeout is later or never.
    All methods are for the loop's thread.
    """

    def __init__(
        self,
        count: int,
        *,
        timeout: float,
        clock: Callable[[], float],
        done: Callable[[Any, Outcome], None],
        returned: Callable[[Any], None],
    ) -> None:
        self._timeout = timeout
        self._clock = clock
        self._done = done
        self._returned = returned
        self._loop = asyncio.get_running_loop()
        self._deadlines: dict[Work, asyncio.TimerHandle] = {}
        self._lock = threading.Lock()
        self._waiting: deque[Work] = deque()
        self._closed = False
        self._workers: list[_Worker] = []
        self.count = count
        self.lost = 0
        for _ in range(count):
            self._start()

    def _start(self) -> None:
        worker = _Worker(self._lock)
        name = "embedwell-device"
        threading.Thread(target=self._main, args=(worker,), name=name, daemon=True).start()
        self._workers.append(worker)

    def offer(self, work: Work) -> None:
        """Run this after what was offered before."""
        with self._lock:
            self._waiting.append(work)
            self._call_one()
        self._arm(self._timeout, work)

    def _call_one(self) -> None:
        """Unless as many as there is work for are called: what they come for may be retracted."""
        if sum(worker.called for worker in self._workers) < len(self._waiting):
            free = (w for w in self._workers if w.running is None and not w.called)
            worker = next(free, None)
            if worker is not None:
                worker.call()

    def retract(self) -> tuple[list[Any], int]:
        """Take back what no thread has begun, in order; and how many threads have nothing to do."""
        with self._lock:
            taken = list(self._waiting)
            self._waiting.clear()
            idle = len(self._workers) - self._count_busy()
        for work in taken:
            self._disarm(work)
        return taken, idle

    def _count_busy(self) -> int:
        return sum(worker.running is not None for worker in self._workers)

    def close(self) -> None:
        """Let the threads end after what they run."""
        with self._lock:
            self._closed = True
            for worker in self._workers:
                worker.call()

    def _arm(self, seconds: float, work: Work) -> None:
        self._deadlines[work] = self._loop.call_later(seconds, self._check, work)

    def _disarm(self, work: Work) -> None:
        handle = self._deadlines.pop(work, None)
        if handle is not None:
            handle.cancel()

    def _check(self, work: Work) -> None:
        """Give the thread up if it has run this for too long; look again later if not."""
        with self._lock:
            worker = next((w for w in self._workers if w.running is work), None)
            elapsed = self._clock() - worker.began if worker is not None else 0.0
            left = self._timeout - elapsed
            if worker is not None and left <= 0:
                worker.lost = True
                self._workers.remove(worker)
        if worker is None or left > 0:
            self._arm(left, work)
            return
        self._disarm(work)
        self.lost += 1
        self._done(work, Outcome(self._replace(), worker.began, elapsed))

    def _replace(self) -> Failure:
        """What became of the work whose thread is lost."""
        try:
            if not self._closed:
                self._start()
        except RuntimeError as error:  # no thread is to be had
            log.critical("the device's thread cannot be replaced: %s", error)
            failure = Failure("fatal", "its thread hangs, and the system gives no other")
            for work in self.retract()[0]:
                self._returned(work)
                self._done(work, Outcome(failure, self._clock(), 0.0))
            return failure
        return Failure("timeout", f"no answer within {self._timeout:g} s")

    # In the device's threads from here on.

    def _main(self, worker: _Worker) -> None:
        while self._run_one(worker):
            pass

    def _run_one(self, worker: _Worker) -> bool:
        """Whether there may be more; what waits for it must hold nothing of the last one."""
        work = self._take(worker)
        if work is None:
            return False
        result = _attempt(work)
        with self._lock:
            given_up = worker.lost
            seconds = self._clock() - worker.began
            abreast = self._count_busy()
            worker.running = None
        outcome = None if given_up else Outcome(result, worker.began, seconds, abreast)
        return self._tell(work, outcome)

    def _take(self, worker: _Worker) -> Work | None:
        with self._lock:
            while not self._waiting and not self._closed:
                worker.called = False
                worker.changed.wait()
            worker.called = False
            if self._closed:
                return None
            worker.running = self._waiting.popleft()
            worker.began = self._clock()
            return worker.running

    def _tell(self, work: Work, outcome: Outcome | None) -> bool:
        try:
            self._loop.call_soon_threadsafe(self._arrived, work, outcome)
        except RuntimeError:  # the loop is closed: nobody waits any more
            return False
        return outcome is not None

    def _arrived(self, work: Work, outcome: Outcome | None) -> None:
        self._returned(work)
        if outcome is None:
            self.lost -= 1
        else:
            self._disarm(work)
            self._done(work, outcome)


def _attempt(work: Work) -> Any:
    """The result, or a Failure; logs, and keeps no exception: its frames would hold tensors."""
    try:
        return work.perform()
    except (DeviceOutOfMemory, MemoryError) as error:
        return Failure("out_of_memory", str(error))
    except DeviceFailure as error:
        log.critical("the device failed", exc_info=True)
        return Failure("fatal", str(error))
    except BaseException as error:  # a Rust panic is one; nothing may end this thread
        log.exception("a forward pass failed")
        return Failure("error", type(error).__name__)
