"""One device thread at a time: runs work, answers with values, is replaced when it hangs."""

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Any, Protocol

from msgspec import Struct

from embedwell.batching.jobs import Failure
from embedwell.interfaces.encoders import DeviceFailure, DeviceOutOfMemory

log = logging.getLogger("embedwell.batching")


class Work(Protocol):
    """Something that the device does; `perform` runs in the device's thread."""

    def perform(self) -> Any: ...


class Outcome(Struct, frozen=True):
    """What became of a piece of work; times are seconds of the app's clock."""

    result: Any  # of `perform`, or a Failure
    began: float
    seconds: float


class _Lane:
    """A thread and what it holds: the work it runs, and the one it takes next."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.running: Work | None = None
        self.next: Work | None = None
        self.began = 0.0
        self.closed = False
        self.lost = False  # given up: whatever it still returns is not wanted


class Worker:
    """The device's thread with one place for what comes next.

    `done(work, outcome)` is called on the loop for every piece of work, exactly once;
    `returned(work)` once its thread no longer uses it, which after a timeout is later or never.
    All methods are for the loop's thread.
    """

    def __init__(
        self,
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
        self._closed = False
        self.lost = 0
        self._lane = self._start()

    def _start(self) -> _Lane:
        lane = _Lane()
        name = "embedwell-device"
        threading.Thread(target=self._main, args=(lane,), name=name, daemon=True).start()
        return lane

    def offer(self, work: Work) -> None:
        """Run this next."""
        with self._lane.changed:
            self._lane.next = work
            self._lane.changed.notify()
        self._arm(self._timeout, work)

    def retract(self) -> Any | None:
        """Take back what the device has not begun, or None."""
        with self._lane.changed:
            work, self._lane.next = self._lane.next, None
        if work is not None:
            self._disarm(work)
        return work

    def close(self) -> None:
        """Let the thread end after what it runs."""
        self._closed = True
        with self._lane.changed:
            self._lane.closed = True
            self._lane.changed.notify()

    def _arm(self, seconds: float, work: Work) -> None:
        self._deadlines[work] = self._loop.call_later(seconds, self._check, self._lane, work)

    def _disarm(self, work: Work) -> None:
        handle = self._deadlines.pop(work, None)
        if handle is not None:
            handle.cancel()

    def _check(self, lane: _Lane, work: Work) -> None:
        """Give the thread up if it has run this for too long; look again later if not."""
        with lane.changed:
            running = work is lane.running
            elapsed = self._clock() - lane.began if running else 0.0
            left = self._timeout - elapsed
            if left <= 0:
                following, lane.next = lane.next, None
                lane.lost = lane.closed = True
        if left > 0:
            self._arm(max(left, 0.001), work)
            return
        self._disarm(work)
        failure = self._replace(following)
        self._done(work, Outcome(failure, lane.began, elapsed))

    def _replace(self, following: Work | None) -> Failure:
        """What became of the work whose thread is lost."""
        self.lost += 1
        if following is not None:
            self._disarm(following)
        try:
            if not self._closed:
                self._lane = self._start()
        except RuntimeError as error:  # no thread is to be had
            log.critical("the device's thread cannot be replaced: %s", error)
            failure = Failure("fatal", "its thread hangs, and the system gives no other")
            if following is not None:
                self._returned(following)
                self._done(following, Outcome(failure, self._clock(), 0.0))
            return failure
        if following is not None:
            self.offer(following)
        return Failure("timeout", f"no answer within {self._timeout:g} s")

    # In the device's thread from here on.

    def _main(self, lane: _Lane) -> None:
        while self._run_one(lane):
            pass

    def _run_one(self, lane: _Lane) -> bool:
        """Whether there may be more; what waits for it must hold nothing of the last one."""
        work = self._take(lane)
        if work is None:
            return False
        result = _attempt(work)
        with lane.changed:
            given_up = lane.lost
            seconds = self._clock() - lane.began
            lane.running = None
        outcome = None if given_up else Outcome(result, lane.began, seconds)
        return self._tell(work, outcome)

    def _take(self, lane: _Lane) -> Work | None:
        with lane.changed:
            while lane.next is None and not lane.closed:
                lane.changed.wait()
            if lane.next is None or lane.closed:
                return None
            lane.running, lane.next = lane.next, None
            lane.began = self._clock()
            return lane.running

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
