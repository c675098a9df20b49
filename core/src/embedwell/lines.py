"""Lines on their way out of the process: whoever logs one waits for no reader."""

import logging
import os
import select
import threading
import time
from contextlib import suppress
from logging.handlers import QueueHandler, QueueListener
from queue import SimpleQueue
from typing import Any

log = logging.getLogger("embedwell.logs")

MOST = 10_000  # lines that wait to be written
GATHER_SECONDS = 0.01  # for further lines, before they are written at once
LAST_SECONDS = 1.0  # that they have at the end
END = None  # what a QueueListener is stopped with


class Lines(QueueHandler):
    """Formats records where they are logged, and has a thread of its own write the lines.

    Once `most` wait, further ones are dropped until half of them are written; before the next one
    it is said how many. Any thread.
    """

    def __init__(self, descriptor: int, most: int = MOST) -> None:
        self._waiting: SimpleQueue[Any] = SimpleQueue()
        super().__init__(self._waiting)
        self._most = most
        self._dropped = 0
        self._writer: _Writer | None = _Writer(self._waiting, descriptor)
        self._writer.start()

    def prepare(self, record: logging.LogRecord) -> str:
        """Not the record, with all that the frames of a traceback hold."""
        return self.format(record)

    def enqueue(self, record: Any) -> None:
        """`record` is what `prepare` made; called with the handler's lock."""
        room = self._most // 2 if self._dropped else self._most
        if self._waiting.qsize() >= room:
            self._dropped += 1
            return
        self._tell()
        self._waiting.put(record)

    def _tell(self) -> None:
        if self._dropped:
            text = "%d log lines were dropped: nobody read them in time"
            given = (self._dropped,)
            told = log.makeRecord(log.name, logging.WARNING, __file__, 0, text, given, None)
            self._dropped = 0
            self._waiting.put(self.format(told))

    def close(self) -> None:
        """Returns once all is written, after a second at the latest; nothing is written later."""
        writer, self._writer = self._writer, None
        if writer is not None:
            self._tell()
            stopping = threading.Thread(target=writer.stop, name="embedwell-log-end", daemon=True)
            stopping.start()
            stopping.join(LAST_SECONDS)
        super().close()


class _Writer(QueueListener):
    """Goes past `sys.stderr`, whose lock would be held for as long as nobody reads."""

    def __init__(self, waiting: "SimpleQueue[Any]", descriptor: int) -> None:
        super().__init__(waiting)
        self._waiting = waiting
        self._descriptor = descriptor

    def dequeue(self, block: bool) -> Any:
        """All that waits: to be woken for each line would cost more than to write it."""
        line = self._waiting.get(block)
        if line is END:
            return END
        time.sleep(GATHER_SECONDS)
        lines = [line]
        while not self._waiting.empty():
            line = self._waiting.get()
            if line is END:
                self._waiting.put(END)
                break
            lines.append(line)
        return "\n".join(lines)

    def handle(self, record: Any) -> None:
        """`record` is what `dequeue` found."""
        rest = f"{record}\n".encode("utf-8", "backslashreplace")
        with suppress(OSError):  # there is nobody left to tell
            while rest:
                rest = rest[self._written(rest) :]

    def _written(self, rest: bytes) -> int:
        try:
            return os.write(self._descriptor, rest)
        except BlockingIOError:  # whoever shares the pipe has set it so
            select.select([], [self._descriptor], [])
            return 0
