"""A line for each step: what runs, and about how long all that is still to come will take."""

import sys
import time
from collections.abc import Callable, Sequence
from typing import TextIO

from msgspec import Struct


class Step(Struct, frozen=True):
    """`subject` is who does it; what one took says what its next one of that kind will take."""

    kind: str
    subject: str
    seconds: float  # expected

    @property
    def title(self) -> str:
        return f"{self.kind}: {self.subject}"


class Progress:
    """Steps are announced in their order; those left out count as done."""

    def __init__(
        self,
        steps: Sequence[Step],
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._steps = list(steps)
        self._stream = stream or sys.stderr
        self._clock = clock
        self._began = clock()

    def begin(self, kind: str, subject: str) -> None:
        """Announce it."""
        place = next(
            n for n, step in enumerate(self._steps) if (step.kind, step.subject) == (kind, subject)
        )
        self._steps = self._steps[place:]
        left = sum(step.seconds for step in self._steps)
        line = f"[{_clock(self._clock() - self._began)}, about {_clock(left)} left] {self._steps[0].title}"
        print(line, file=self._stream, flush=True)
        del self._steps[0]

    def learn(self, subject: str, seconds: float) -> None:
        """Its later rounds will take as long."""
        self._steps = [
            Step(step.kind, step.subject, seconds)
            if step.subject == subject and step.kind.startswith("round")
            else step
            for step in self._steps
        ]

    def drop(self, subject: str) -> None:
        """It takes no further part."""
        self._steps = [step for step in self._steps if step.subject != subject]


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
