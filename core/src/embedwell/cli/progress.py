"""How far a task is: one line that changes on a terminal, now and then a line elsewhere."""

import sys
from typing import TextIO

STEP = 10  # percent between two plain lines
WIDTH = 24  # of a bar


class LiveLine:
    """A line that each `show` replaces on a terminal; elsewhere each is a line of its own."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr
        self.live = self.stream.isatty()
        self._shown = 0

    def show(self, line: str) -> None:
        """This, and nothing of what stood there before."""
        if not self.live:
            self._write(f"{line}\n")
            return
        self._write(f"\r{line.ljust(self._shown)}")
        self._shown = len(line)

    def clear(self) -> None:
        """Nothing of it stays on a terminal."""
        if self.live and self._shown:
            self._write(f"\r{' ' * self._shown}\r")

    def end(self) -> None:
        """Leave it as it stands; called also when nothing was shown."""
        if self.live and self._shown:
            self._write("\n")

    def _write(self, text: str) -> None:
        self.stream.write(text)
        self.stream.flush()


def bar(full: int) -> str:
    """`full` of WIDTH places filled."""
    return "█" * full + "░" * (WIDTH - full)


class ProgressLine:
    """Shows bytes done; a terminal's line is finished by `end`."""

    def __init__(self, label: str, stream: TextIO | None = None) -> None:
        self._label = label
        self._line = LiveLine(stream)
        self._next = 0

    def show(self, done: int, total: int | None) -> None:
        """The state as it is now."""
        percent = 100 * done // total if total else 0
        if self._line.live or percent >= self._next:
            self._line.show(f"{self._label}  {_amount(done, total)}")
            self._next = percent // STEP * STEP + STEP

    def end(self) -> None:
        """Leave the line as it stands; called also when nothing was shown."""
        self._line.end()


def size(number: int) -> str:
    """Bytes for people: 640 B, 90.9 MB, 1.20 GB."""
    if number < 1_000:
        return f"{number} B"
    if number < 1_000_000:
        return f"{number / 1e3:.0f} kB"
    return f"{number / 1e6:.1f} MB" if number < 1_000_000_000 else f"{number / 1e9:.2f} GB"


def _amount(done: int, total: int | None) -> str:
    if not total:
        return size(done)
    return f"{100 * done // total:3d} %  {size(done)} of {size(total)}"
