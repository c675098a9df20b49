"""How far a sweep is: one line that changes on a terminal, a line per window elsewhere."""

from typing import TextIO

from embedwell.bench.report import milliseconds, rate
from embedwell.bench.results import Figures
from embedwell.bench.sweep import Step
from embedwell.cli.progress import WIDTH, LiveLine, bar


class BenchProgress:
    """Told by a sweep; `end` clears a terminal's line."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._line = LiveLine(stream)
        self._last = ""

    def asking(self, url: str) -> None:
        """Before the first request to a server, which may have to load the model."""
        self._line.show(f"asking {url}")

    def running(self, step: Step, share: float) -> None:
        if self._line.live:
            done = round(WIDTH * (step.number - 1 + share) / step.total)
            self._line.show(f"{bar(done)}  {_name(step)}{self._last}")

    def ended(self, step: Step, found: Figures) -> None:
        spans = found.latency_ms
        self._last = f": {rate(found.texts_per_second)} texts/s"
        if spans is not None:
            self._last += f", p50 {milliseconds(spans.p50)} ms"
        if found.errors or found.limited:
            self._last += f", {found.errors} errors, {found.limited} × 429"
        if not self._line.live:
            self._line.show(f"{_name(step)}{self._last}")
        self._last = f"; before{self._last}"

    def end(self) -> None:
        """Nothing of it stays on a terminal."""
        self._line.clear()


def _name(step: Step) -> str:
    connections = "connection" if step.concurrency == 1 else "connections"
    return f"{step.number} of {step.total}  {step.url}  {step.concurrency} {connections}"
