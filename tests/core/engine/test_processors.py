"""Who computes with how many processors."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from embedwell.engine.cpu.faster import EVERY, KEPT, Faster
from embedwell.engine.cpu.helped import IN_A_ROW, LATER, Helped
from embedwell.engine.cpu.processors import MOST, Allotment, Processors
from embedwell.interfaces.encoders import Batch

BOTH = 2 * KEPT  # turns until both ways are known


def batch(*lengths: int) -> Batch:
    return Batch(b"\0" * 4 * sum(lengths), lengths, (0,) * len(lengths))


def used(allotment: Allotment, own: Batch) -> int:
    """Threads of a product."""
    with allotment.taken(own):
        return torch.get_num_threads()


@pytest.fixture
def thread() -> Iterator[ThreadPoolExecutor]:
    """A thread of the test's own: the number is kept for each."""
    with ThreadPoolExecutor(1) as own:
        yield own


@pytest.fixture
def other() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as own:
        yield own


class Timed:
    """An allotment of two processors, and what a text takes by its threads."""

    def __init__(self, thread: ThreadPoolExecutor) -> None:
        self.seconds = {1: 1.0, 2: 1.0}
        self.processors = Processors(2)
        self.allotment = Allotment(self.processors, lambda: self._now)
        self.thread = thread
        self._now = 0.0

    def used(self, turns: int, length: int) -> list[int]:
        """Threads of one text after the other, in the thread."""
        return [self.thread.submit(self.run, length).result() for _ in range(turns)]

    def run(self, length: int, error: Exception | None = None) -> int:
        with self.allotment.taken(batch(length)):
            threads = torch.get_num_threads()
            self._now += self.seconds[threads]
            if error is not None:
                raise error
        return threads


@pytest.fixture
def timed(thread: ThreadPoolExecutor) -> Timed:
    """Its thread has had its texts, and is to be helped."""
    timed = Timed(thread)
    assert timed.used(IN_A_ROW, 9) == [1] * IN_A_ROW
    return timed


@pytest.mark.parametrize(
    ("count", "own"), [(1, 1), (2, 1), (6, 1), (9, 2), (12, 2), (2 * MOST, 2), (2 * MOST + 1, 3)]
)
def test_a_batch_has_its_share(thread: ThreadPoolExecutor, count: int, own: int) -> None:
    allotment = Allotment(Processors(count))
    for _ in range(IN_A_ROW + BOTH):
        assert thread.submit(used, allotment, batch(9, 9)).result() == own


@pytest.mark.parametrize("count", [2, 9, 2 * MOST])
def test_one_text_alone_may_have_all(thread: ThreadPoolExecutor, count: int) -> None:
    allotment = Allotment(Processors(count))
    turns = [thread.submit(used, allotment, batch(9)) for _ in range(IN_A_ROW + BOTH)]
    assert max(turn.result() for turn in turns) == count


@pytest.mark.parametrize(("seconds", "best"), [({1: 2.0, 2: 1.0}, 2), ({1: 1.0, 2: 3.0}, 1)])
def test_one_text_alone_has_what_is_faster(
    timed: Timed, seconds: dict[int, float], best: int
) -> None:
    timed.seconds = seconds
    assert timed.used(BOTH, 9) == [1, 2] * KEPT
    assert timed.used(EVERY - BOTH - 1, 9) == [best] * (EVERY - BOTH - 1)
    assert timed.used(2, 9) == [3 - best, best]


def test_it_changes_with_the_times(timed: Timed) -> None:
    timed.seconds = {1: 2.0, 2: 1.0}
    assert timed.used(BOTH + 1, 9)[-1] == 2
    timed.seconds = {1: 2.0, 2: 9.0}
    assert timed.used(KEPT, 9)[-1] == 1


def test_texts_of_different_sizes_are_measured_apart(timed: Timed) -> None:
    timed.seconds = {1: 1.0, 2: 3.0}
    timed.used(BOTH, 9)
    timed.seconds = {1: 3.0, 2: 1.0}
    timed.used(BOTH, 17)
    assert timed.used(1, 9) == timed.used(1, 16) == [1]
    assert timed.used(1, 17) == [2]


def test_beside_another_batch_a_text_has_its_share(timed: Timed) -> None:
    with timed.processors.entered(batch(9, 9)):
        assert timed.used(BOTH, 9) == [1] * BOTH
    assert timed.used(2, 9) == [1, 2]


def test_what_fails_takes_nothing_any_more_and_is_no_measure(timed: Timed) -> None:
    failed = timed.thread.submit(timed.run, 9, MemoryError())
    assert isinstance(failed.exception(), MemoryError)
    assert timed.used(BOTH, 9) == [1, 2] * KEPT


def test_one_thread_alone_is_helped(timed: Timed, other: ThreadPoolExecutor) -> None:
    timed.used(1, 9)
    for _ in range(IN_A_ROW + BOTH):
        assert other.submit(used, timed.allotment, batch(9)).result() == 1
    assert timed.used(1, 9) == [2]


def test_a_burst_that_reaches_two_threads_settles_nothing(
    thread: ThreadPoolExecutor, other: ThreadPoolExecutor
) -> None:
    helped = Helped()
    for _ in range(IN_A_ROW):
        assert not other.submit(helped.count_caller).result()
    assert not thread.submit(helped.count_caller).result()
    assert not other.submit(helped.count_caller).result()


def test_a_thread_that_gets_no_texts_any_more_is_followed_by_the_one_that_does(
    thread: ThreadPoolExecutor, other: ThreadPoolExecutor
) -> None:
    """Whoever was first may never be called again, where work is few and others wait before it."""
    helped = Helped()
    assert [thread.submit(helped.count_caller).result() for _ in range(IN_A_ROW + 1)][-1]
    turns = [other.submit(helped.count_caller).result() for _ in range(LATER + 1)]
    assert turns == [*[False] * LATER, True]
    assert not thread.submit(helped.count_caller).result()
    assert other.submit(helped.count_caller).result(), "one text of another is nothing"


def test_where_the_thread_has_ended_another_is_helped(thread: ThreadPoolExecutor) -> None:
    helped = Helped()
    with ThreadPoolExecutor(1) as ended:
        assert [ended.submit(helped.count_caller).result() for _ in range(IN_A_ROW + 1)][-1]
    assert [thread.submit(helped.count_caller).result() for _ in range(IN_A_ROW + 1)][-1]


def test_a_text_that_was_held_up_once_decides_nothing() -> None:
    faster = Faster()
    for seconds in (1.0, 90.0, 1.0):
        faster.note(0, seconds)
        faster.note(1, 2.0)
    assert faster.choose() == 0
