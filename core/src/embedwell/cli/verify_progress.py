"""How far a verification is: one line that changes on a terminal, elsewhere a line a part."""

from collections.abc import Callable
from typing import TextIO

from embedwell.cli.progress import WIDTH, LiveLine, ProgressLine, bar
from embedwell.interfaces.tasks import Task


class VerifyProgress:
    """Told by a verification; `end` clears a terminal's line."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._line = LiveLine(stream)
        self._fetching: ProgressLine | None = None

    def fetching(self, task: Task) -> None:
        """A download, or the reading of a large model."""
        if self._fetching is None:
            self._fetching = ProgressLine(task.key, self._line.stream)
        self._fetching.show(task.done, task.total)

    def begin(self, what: str, total: int) -> Callable[[int], None]:
        """As `verify.results.Progress`."""
        self._fetched()
        done = 0

        def step(count: int) -> None:
            nonlocal done
            done += count
            if self._line.live:
                full = WIDTH * done // total
                self._line.show(f"{bar(full)}  {what}  {100 * done // total} %")

        self._line.show(what)
        return step

    def end(self) -> None:
        """Nothing of it stays on a terminal but a download."""
        self._fetched()
        self._line.clear()

    def _fetched(self) -> None:
        if self._fetching is not None:
            self._fetching.end()
            self._fetching = None
