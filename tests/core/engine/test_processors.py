"""Who computes with how many processors."""

import threading

import pytest
import torch

from embedwell.engine.cpu.faster import EVERY, KEPT, Faster
from embedwell.engine.cpu.processors import MOST, Processors, Share
from embedwell.interfaces.encoders import Batch

BOTH = 2 * KEPT  # turns until both ways are known


def batch(*lengths: int) -> Batch:
    return Batch(b"\0" * 4 * sum(lengths), lengths, (0,) * len(lengths))


def used(share: Share, own: Batch) -> int:
    """Threads of a product in a thread of its own."""
    found: list[int] = []

    def run() -> None:
        with share.taken(own):
            found.append(torch.get_num_threads())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return found[0]


class Timed:
    """A share of `count` processors whose clock tells what a text takes, by its threads."""

    def __init__(self, count: int, seconds: dict[int, float]) -> None:
        self.seconds = seconds
        self._now = 0.0
        self._ends = False
        self.share = Share(Processors(count), self._clock)

    def _clock(self) -> float:
        if self._ends:
            self._now += self.seconds[torch.get_num_threads()]
        self._ends = not self._ends
        return self._now

    def used(self, turns: int, *lengths: int) -> list[int]:
        return [used(self.share, batch(*lengths)) for _ in range(turns)]


@pytest.mark.parametrize(
    ("count", "own"), [(1, 1), (2, 1), (6, 1), (12, 2), (2 * MOST, 2), (2 * MOST + 1, 3)]
)
def test_a_batch_has_its_share(count: int, own: int) -> None:
    assert used(Share(Processors(count)), batch(9, 9)) == own


@pytest.mark.parametrize(("seconds", "best"), [({1: 2.0, 2: 1.0}, 2), ({1: 1.0, 2: 3.0}, 1)])
def test_one_text_alone_has_what_is_faster(seconds: dict[int, float], best: int) -> None:
    timed = Timed(2, seconds)
    assert timed.used(BOTH, 9) == [1, 2] * KEPT
    assert timed.used(EVERY - BOTH - 1, 9) == [best] * (EVERY - BOTH - 1)
    assert timed.used(2, 9) == [3 - best, best]


def test_it_changes_with_the_times() -> None:
    timed = Timed(2, {1: 2.0, 2: 1.0})
    timed.used(BOTH, 9)
    timed.seconds = {1: 2.0, 2: 9.0}
    assert timed.used(KEPT, 9)[-1] == 1


def test_short_and_long_texts_are_measured_apart() -> None:
    timed = Timed(2, {1: 1.0, 2: 3.0})
    timed.used(BOTH, 9)
    timed.seconds = {1: 3.0, 2: 1.0}
    timed.used(BOTH, 90)
    assert timed.used(1, 9) == [1]
    assert timed.used(1, 90) == [2]


def test_beside_another_a_text_has_its_share() -> None:
    processors = Processors(2)
    share = Share(processors)
    with processors.entered():
        assert [used(share, batch(9)) for _ in range(2)] == [1, 1]
    assert [used(share, batch(9)) for _ in range(2)] == [1, 2]


def test_what_fails_takes_nothing_any_more_and_is_no_measure() -> None:
    share = Share(Processors(2))
    with pytest.raises(MemoryError), share.taken(batch(9)):
        raise MemoryError
    assert [used(share, batch(9)) for _ in range(2)] == [1, 2]


def test_a_text_that_was_held_up_once_decides_nothing() -> None:
    faster = Faster()
    for seconds in (1.0, 90.0, 1.0):
        faster.note(0, seconds)
        faster.note(1, 2.0)
    assert faster.choose() == 0
