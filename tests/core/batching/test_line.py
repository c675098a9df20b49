"""What waits for the device's threads, without any thread but the test's own."""

import pytest

from embedwell.batching.line import Line, Turn, Worker
from embedwell.testing import FakeClock


class Noted:
    """Work that is never run here."""

    def perform(self) -> None:
        raise AssertionError


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def line(clock: FakeClock) -> Line:
    return Line(clock)


@pytest.fixture
def workers(line: Line) -> list[Worker]:
    return [line.join() for _ in range(2)]


def called(workers: list[Worker]) -> list[bool]:
    return [worker.called for worker in workers]


def test_as_many_are_called_as_there_is_work_for(line: Line, workers: list[Worker]) -> None:
    assert called(workers) == [False, False]
    line.put(Noted())
    assert called(workers) == [True, False]
    line.put(Noted())
    line.put(Noted())
    assert called(workers) == [True, True]


def test_work_that_takes_the_place_of_other_calls_no_second(
    line: Line, workers: list[Worker]
) -> None:
    """Either might take it, and only one has what helps it."""
    line.put(Noted())
    line.retract()
    line.put(Noted())
    assert called(workers) == [True, False]


def test_who_runs_something_is_not_called(line: Line, workers: list[Worker]) -> None:
    line.put(Noted())
    line.take(workers[0])
    line.put(Noted())
    assert called(workers) == [False, True]


def test_it_is_taken_in_order_and_what_is_taken_is_not_retracted(
    line: Line, workers: list[Worker]
) -> None:
    works = [Noted() for _ in range(4)]
    for work in works:
        line.put(work)
    assert [line.take(worker) for worker in workers] == works[:2]
    assert line.retract() == (works[2:], 0)
    line.leave(workers[0])
    assert line.retract() == ([], 1)


def test_a_turn_is_timed_from_when_it_is_taken(
    line: Line, workers: list[Worker], clock: FakeClock
) -> None:
    line.put(Noted())
    line.put(Noted())
    clock.now += 5
    began = clock()
    for worker in workers:
        line.take(worker)
    clock.now += 2
    assert line.leave(workers[0]) == Turn(began, 2, 2)
    assert line.leave(workers[1]) == Turn(began, 2, 1)


def test_who_has_work_for_too_long_is_lost(
    line: Line, workers: list[Worker], clock: FakeClock
) -> None:
    work = Noted()
    line.put(work)
    clock.now += 50
    assert line.give_up(work, 10).seconds == 0, "it waited"
    line.take(workers[0])
    clock.now += 9
    assert line.give_up(work, 10).seconds == 9
    assert line.retract() == ([], 1)
    clock.now += 1
    assert line.give_up(work, 10).seconds == 10
    assert line.retract() == ([], 1), "the other one"
    assert line.leave(workers[0]) is None


def test_one_that_cannot_begin_does_not_count(line: Line, workers: list[Worker]) -> None:
    line.part(workers[0])
    assert line.retract() == ([], 1)
    line.put(Noted())
    assert called(workers) == [False, True]


def test_a_closed_line_calls_all_and_gives_nothing(line: Line, workers: list[Worker]) -> None:
    line.put(Noted())
    line.close()
    assert called(workers) == [True, True]
    assert [line.take(worker) for worker in workers] == [None, None]
