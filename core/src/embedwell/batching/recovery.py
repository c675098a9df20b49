"""What follows a run that failed: smaller ones, until the culprit stands alone."""

from collections.abc import Sequence
from weakref import WeakKeyDictionary

from embedwell.batching.jobs import Failure, Job, Run, parts_of
from embedwell.batching.plan import Limits, halves, smaller
from embedwell.batching.queue import Queue
from embedwell.errors import DeadlineExceeded, ModelError, OutOfMemory
from embedwell.interfaces.encoders import Encoder

LEAST_CAP = 64  # tokens: the memory may have been a neighbour's


class Recovery:
    """Fails who is to blame and puts everyone else back; on the loop only."""

    def __init__(self, queue: Queue, timeout: float) -> None:
        """`timeout` is the seconds that a run may take, for the message."""
        self._queue = queue
        self._timeout = timeout
        self._caps: WeakKeyDictionary[Encoder, int] = WeakKeyDictionary()

    def capped(self, encoder: Encoder, tokens: int) -> int:
        """So many tokens, or what has been too many for this encoder's memory less a step."""
        return min(tokens, self._caps.get(encoder, tokens))

    def recover(self, run: Run, failure: Failure) -> None:
        """Every sequence of the run has its error or runs again."""
        match failure.kind:
            case "out_of_memory":
                if len(run.lengths) > 1:
                    self._lower_cap(run)
                self._split(run, OutOfMemory("The input does not fit in memory", retry_after=1))
            case "error":
                self._split(run, ModelError("The model failed on this input"))
            case "timeout":
                self._each_alone(run)
            case "fatal":
                for part in run.parts:
                    part.job.fail(ModelError("The device failed; the server restarts"))

    def _lower_cap(self, run: Run) -> None:
        encoder = run.handle.encoder
        self._caps[encoder] = max(LEAST_CAP, self.capped(encoder, smaller(run.cost)))

    def _split(self, run: Run, error: Exception) -> None:
        """Halve until the culprit stands alone; what is left of its request goes with it."""
        items = run.items
        if len(items) == 1:
            items[0][0].fail(error)
            return
        for half in halves(items):
            self._force(half, run.limits)

    def _each_alone(self, run: Run) -> None:
        """Each request once more by itself; who was alone is the culprit."""
        if len(run.parts) == 1:
            run.parts[0].job.fail(
                DeadlineExceeded(f"The model did not answer within {self._timeout:g} seconds")
            )
            return
        for part in run.parts:
            self._force([(part.job, index) for index in part.indices], run.limits)

    def _force(self, items: Sequence[tuple[Job, int]], limits: Limits) -> None:
        parts = parts_of(items)
        if parts:
            self._queue.force(parts, limits)
