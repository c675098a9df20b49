"""Lines on their way out: whole, in order, and nobody waits for who should read them."""

import fcntl
import logging
import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest
from msgspec import Struct

from embedwell.lines import Lines
from embedwell.logs import Console

ROOM = 4096  # bytes that the pipe holds
MOST = 20
MANY = 500  # ten times what the pipe holds
GAP = re.compile(r"(\d+) log lines were dropped: nobody read them in time")


class Pipe(Struct):
    """`start` is read from, `end` is written to."""

    start: int
    end: int

    def close_end(self) -> None:
        if self.end >= 0:
            os.close(self.end)
            self.end = -1

    def text(self) -> str:
        """Everything until the end is closed."""
        with open(self.start, "rb", closefd=False) as file:
            return file.read().decode()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe(*os.pipe())
    fcntl.fcntl(made.end, fcntl.F_SETPIPE_SZ, ROOM)
    yield made
    os.close(made.start)  # which ends who still writes
    for thread in threading.enumerate():
        if thread.name == "embedwell-log-end":
            thread.join()
    made.close_end()


class Reader(threading.Thread):
    """Reads from now on; `lines` when the pipe's end is closed."""

    def __init__(self, pipe: Pipe) -> None:
        super().__init__()
        self._pipe = pipe
        self._text = ""
        self.start()

    def run(self) -> None:
        self._text = self._pipe.text()

    def lines(self) -> list[str]:
        self._pipe.close_end()
        self.join()
        return self._text.splitlines()


def record(message: str, *values: object) -> logging.LogRecord:
    return logging.getLogger("embedwell.test").makeRecord(
        "embedwell.test", logging.INFO, __file__, 0, message, values, None
    )


def numbered(number: int) -> logging.LogRecord:
    return record("%d %s", number, "x" * 90)


def accounted(written: list[str]) -> int:
    """How many there were: each is there in its place, or in the gap that is told there."""
    there = 0
    for line in written:
        if gap := GAP.fullmatch(line):
            there += int(gap[1])
        else:
            assert line == f"{there} {'x' * 90}"
            there += 1
    return there


def test_what_is_written_is_what_the_formatter_makes(pipe: Pipe) -> None:
    failed = record("failed %s", "ünd")
    try:
        raise ValueError("no\nmore")
    except ValueError:
        failed.exc_info = sys.exc_info()
    records = [record("one"), failed, record("two %d", 2)]
    wanted = [Console().format(made) for made in records]
    assert "\n    ValueError: no" in wanted[1]
    with closing(Lines(pipe.end)) as lines:
        lines.setFormatter(Console())
        for made in records:
            lines.handle(made)
    pipe.close_end()
    assert pipe.text() == "".join(f"{line}\n" for line in wanted)


def test_nobody_waits_for_who_does_not_read_and_what_is_lost_is_counted(pipe: Pipe) -> None:
    lines = Lines(pipe.end, MOST)
    for number in range(MANY):
        lines.handle(numbered(number))
    reader = Reader(pipe)
    lines.close()
    written = reader.lines()
    assert len(written) < MANY / 2
    assert accounted(written) == MANY


def test_when_it_flows_again_further_lines_are_written(pipe: Pipe) -> None:
    lines = Lines(pipe.end, MOST)
    for number in range(MANY):
        lines.handle(numbered(number))
    reader = Reader(pipe)
    while lines.queue.qsize() >= MOST // 2:  # type: ignore[attr-defined]
        os.sched_yield()
    lines.handle(numbered(MANY))
    lines.close()
    written = reader.lines()
    assert written[-1].startswith(f"{MANY} ")
    assert accounted(written) == MANY + 1


def test_a_pipe_that_others_have_set_non_blocking_loses_nothing(pipe: Pipe) -> None:
    os.set_blocking(pipe.end, False)
    lines = Lines(pipe.end, MANY)
    for number in range(MANY):
        lines.handle(numbered(number))
    reader = Reader(pipe)
    lines.close()
    assert len(reader.lines()) == MANY


def test_the_end_does_not_wait_for_ever(pipe: Pipe) -> None:
    lines = Lines(pipe.end, MOST)
    for number in range(MANY):
        lines.handle(numbered(number))
    lines.close()
    lines.close()
    lines.handle(record("nobody writes this, nor waits for it"))


def test_a_reader_that_has_left_ends_nothing(pipe: Pipe) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, pipe.start)  # it was the only one
    os.close(nothing)
    lines = Lines(pipe.end)
    lines.handle(record("to nobody"))
    lines.handle(record("to nobody"))
    lines.close()
    assert lines.queue.qsize() == 0  # type: ignore[attr-defined]
