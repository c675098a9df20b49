"""How far a sweep is: one line that changes on a terminal, a line per window elsewhere."""

import sys
from typing import TextIO

from embedwell.bench.report import milliseconds, rate
from embedwell.bench.results import Figures
from embedwell.bench.sweep import Step

WIDTH = 24  # of the bar


class BenchProgress:
    """Told by a sweep; `end` clears a terminal's line."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty()
        self._shown = 0
        self._last = ""

    def asking(self, url: str) -> None:
        """Before the first request to a server, which may have to load the model."""
        self._show(f"asking {url}")

    def running(self, step: Step, share: float) -> None:
        if self._live:
            done = round(WIDTH * (step.number - 1 + share) / step.total)
            bar = "█" * done + "░" * (WIDTH - done)
            self._show(f"{bar}  {_name(step)}{self._last}")

    def ended(self, step: Step, found: Figures) -> None:
        spans = found.latency_ms
        self._last = f": {rate(found.texts_per_second)} texts/s"
        if spans is not None:
            self._last += f", p50 {milliseconds(spans.p50)} ms"
        if found.errors or found.limited:
            self._last += f", {found.errors} errors, {found.limited} × 429"
        if not self._live:
            self._show(f"{_name(step)}{self._last}")
        self._last = f"; before{self._last}"

    def end(self) -> None:
        """Nothing of it stays on a terminal."""
        if self._live and self._shown:
            self._write(f"\r{' ' * self._shown}\r")

    def _show(self, line: str) -> None:
        if not self._live:
            self._write(f"{line}\n")
            return
        self._write(f"\r{line.ljust(self._shown)}")
        self._shown = len(line)

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def _name(step: Step) -> str:
    connections = "connection" if step.concurrency == 1 else "connections"
    return f"{step.number} of {step.total}  {step.url}  {step.concurrency} {connections}"
