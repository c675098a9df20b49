"""The device's threads: they run work, answer with values, and are replaced when they hang."""

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Any

from embedwell.batching.jobs import Failure
from embedwell.batching.line import Line, Turn, Work, Worker
from embedwell.batching.outcome import Outcome, attempt

log = logging.getLogger("embedwell.batching")


class Workers:
    """Threads that run a line's work; the loop is told of each outcome, what hangs is replaced.

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
        worker = self._line.join()
        name = "embedwell-device"
        thread = threading.Thread(target=self._main, args=(worker,), name=name, daemon=True)
        try:
            thread.start()
        except BaseException:
            self._line.part(worker)
            raise

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
        turn = self._line.give_up(work, self._timeout)
        if turn.seconds < self._timeout:
            self._arm(self._timeout - turn.seconds, work)
            return
        self._disarm(work)
        self.lost += 1
        self._done(work, Outcome(self._replace(), turn))

    def _replace(self) -> Failure:
        """Start another thread, or fail what waits; what became of the work that hangs."""
        try:
            if not self._line.closed:
                self._start()
        except (RuntimeError, MemoryError) as error:  # no thread is to be had
            log.critical("the device's thread cannot be replaced: %s", error)
            failure = Failure("fatal", "its thread hangs, and the system gives no other")
            for work in self.retract()[0]:
                self._returned(work)
                self._done(work, Outcome(failure, Turn(self._clock(), 0.0)))
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
        result = attempt(work)
        turn = self._line.leave(worker)
        return self._tell(work, None if turn is None else Outcome(result, turn))

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
