"""How far a verification is: one line that changes on a terminal, elsewhere a line a part."""

import sys
from collections.abc import Callable
from typing import TextIO

from embedwell.cli.progress import ProgressLine
from embedwell.interfaces.tasks import Task

WIDTH = 24  # of the bar


class VerifyProgress:
    """Told by a verification; `end` clears a terminal's line."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty()
        self._shown = 0
        self._fetching: ProgressLine | None = None

    def fetching(self, task: Task) -> None:
        """A download, or the reading of a large model."""
        if self._fetching is None:
            self._fetching = ProgressLine(task.key, self._stream)
        self._fetching.show(task.done, task.total)

    def begin(self, what: str, total: int) -> Callable[[int], None]:
        """As `verify.results.Progress`."""
        self._fetched()
        done = 0

        def step(count: int) -> None:
            nonlocal done
            done += count
            if self._live:
                full = WIDTH * done // total
                self._show(f"{'█' * full}{'░' * (WIDTH - full)}  {what}  {100 * done // total} %")

        self._show(what)
        return step

    def end(self) -> None:
        """Nothing of it stays on a terminal but a download."""
        self._fetched()
        if self._live and self._shown:
            self._write(f"\r{' ' * self._shown}\r")

    def _fetched(self) -> None:
        if self._fetching is not None:
            self._fetching.end()
            self._fetching = None

    def _show(self, line: str) -> None:
        if not self._live:
            self._write(f"{line}\n")
            return
        self._write(f"\r{line.ljust(self._shown)}")
        self._shown = len(line)

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
