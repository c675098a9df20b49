"""The device's threads: they run work, answer with values, and are replaced when they hang."""

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Any

from msgspec import Struct

from embedwell.batching.jobs import Failure
from embedwell.batching.line import Line, Work, Worker
from embedwell.interfaces.encoders import DeviceFailure, DeviceOutOfMemory

log = logging.getLogger("embedwell.batching")


class Outcome(Struct, frozen=True):
    """What became of a piece of work; times are seconds of the app's clock."""

    result: Any  # of `perform`, or a Failure
    began: float
    seconds: float
    abreast: int = 1  # threads that were running something when it ended, its own among them


class Workers:
    """The device's threads, and what they take next: in order, each as soon as it is free.

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
        self._line = Line(clock)
        self.count = count
        self.lost = 0
        for _ in range(count):
            self._start()

    def _start(self) -> None:
        worker = self._line.worker()
        name = "embedwell-device"
        threading.Thread(target=self._main, args=(worker,), name=name, daemon=True).start()
        self._line.join(worker)

    def offer(self, work: Work) -> None:
        """Run this after what was offered before."""
        self._line.put(work)
        self._arm(self._timeout, work)

    def retract(self) -> tuple[list[Any], int]:
        """Take back what no thread has begun, in order; and how many threads have nothing to do."""
        taken, idle = self._line.retract()
        for work in taken:
            self._disarm(work)
        return taken, idle

    def close(self) -> None:
        """Let the threads end after what they run."""
        self._line.close()

    def _arm(self, seconds: float, work: Work) -> None:
        self._deadlines[work] = self._loop.call_later(seconds, self._check, work)

    def _disarm(self, work: Work) -> None:
        handle = self._deadlines.pop(work, None)
        if handle is not None:
            handle.cancel()

    def _check(self, work: Work) -> None:
        """Give the thread up if it has run this for too long; look again later if not."""
        began, elapsed = self._line.lose(work, self._timeout)
        if elapsed < self._timeout:
            self._arm(self._timeout - elapsed, work)
            return
        self._disarm(work)
        self.lost += 1
        self._done(work, Outcome(self._replace(), began, elapsed))

    def _replace(self) -> Failure:
        """What became of the work whose thread is lost."""
        try:
            if not self._line.closed:
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

    def _main(self, worker: Worker) -> None:
        while self._run_one(worker):
            pass

    def _run_one(self, worker: Worker) -> bool:
        """Whether there may be more; what waits for it must hold nothing of the last one."""
        work = self._line.take(worker)
        if work is None:
            return False
        result = _attempt(work)
        ended = self._line.leave(worker)
        return self._tell(work, None if ended is None else Outcome(result, *ended))

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
