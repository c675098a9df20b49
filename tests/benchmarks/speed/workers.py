"""Engines in processes of their own, from the parent's side."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TypeVar, cast

from tests.benchmarks.engines.catalogue import Entry
from tests.benchmarks.engines.engine import Setting
from tests.benchmarks.speed.owned import owned
from tests.benchmarks.speed.protocol import ANSWERS, Done, Failed, Ready, Round, receive, send

T = TypeVar("T", Ready, Done)
LAST = 200  # characters of what a process said before it ended


class NotAvailable(Exception):
    """An engine that cannot be compared here; the message says why."""


class Worker:
    """Loaded when it is made; one question at a time."""

    def __init__(self, requests: BinaryIO, answers: BinaryIO, log: Path, pid: int) -> None:
        self.pid = pid
        self._requests = requests
        self._answers = answers
        self._log = log
        self.versions = self._receive(Ready).versions

    def ask(self, what: Round) -> Done:
        """Raises NotAvailable where the engine failed."""
        try:
            send(self._requests, what)
        except OSError:
            raise NotAvailable(self._end()) from None
        return self._receive(Done)

    def _receive(self, kind: type[T]) -> T:
        body = receive(self._answers)
        if body is None:
            raise NotAvailable(self._end())
        answer = ANSWERS.decode(body)
        if isinstance(answer, Failed):
            raise NotAvailable(answer.reason)
        assert isinstance(answer, kind)
        return answer

    def _end(self) -> str:
        said = self._log.read_text(errors="replace").strip().splitlines()
        return f"its process ended: {said[-1][:LAST]}" if said else "its process ended"


@contextmanager
def started(entry: Entry, python: Path, setting: Setting) -> Iterator[Worker]:
    """Raises NotAvailable where it cannot load; ended on leaving."""
    setting.scratch.mkdir(parents=True, exist_ok=True)
    log = setting.scratch / "log"
    command = [
        python, "-m", "tests.benchmarks.speed.worker",
        entry.place, entry.precision, setting.encoded(),
    ]  # fmt: skip
    with owned(command, log=log, environment={"TOKENIZERS_PARALLELISM": "true"}) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        requests, answers = cast(BinaryIO, process.stdin), cast(BinaryIO, process.stdout)
        yield Worker(requests, answers, log, process.pid)
