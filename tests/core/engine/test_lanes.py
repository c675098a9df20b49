"""Parts of a batch side by side: all of them answered, none left behind, none out of its place."""

import gc
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress

import pytest

from embedwell.engine.cpu.lanes import LEAST, Lanes


@pytest.mark.parametrize(
    ("processors", "tokens", "texts", "parts"),
    [
        (2, 2048, 40, 2),
        (2, 2 * LEAST - 1, 40, 1),
        (2, 2 * LEAST, 40, 2),
        (2, 2048, 1, 1),
        (1, 2048, 40, 1),
        (8, 4 * LEAST, 40, 4),
    ],
)
def test_parts_are_worth_a_thread_each(
    processors: int, tokens: int, texts: int, parts: int
) -> None:
    assert Lanes(processors).count(tokens, texts) == parts


def test_parts_run_side_by_side_and_answer_in_order() -> None:
    meeting = threading.Barrier(3, timeout=60)

    def part(number: int) -> Callable[[], int]:
        def run() -> int:
            meeting.wait()  # for ever, were they run one after the other
            return number

        return run

    assert Lanes(3).run([part(i) for i in range(3)], 3 * LEAST) == [0, 1, 2]


def test_a_part_that_fails_is_raised_once_all_have_ended() -> None:
    lanes, ended = Lanes(2), threading.Event()
    failed = threading.Event()

    def fails() -> int:
        failed.set()
        raise MemoryError("no room")

    def works() -> int:
        failed.wait(60)
        ended.set()
        return 1

    with pytest.raises(MemoryError, match="no room"):
        lanes.run([fails, works], 2 * LEAST)
    assert ended.is_set()
    assert lanes.run([works, works], 2 * LEAST) == [1, 1]  # a failure costs no lane


def test_each_thread_has_lanes_of_its_own() -> None:
    lanes, stuck = Lanes(2), threading.Event()
    hanging = threading.Thread(
        target=lambda: lanes.run([lambda: stuck.wait(60), lambda: True], 2 * LEAST)
    )
    hanging.start()
    assert len(set(both(lanes))) == 2  # while the other's first lane still hangs
    stuck.set()
    hanging.join(60)


def test_lanes_end_with_who_uses_them() -> None:
    for thread in both(Lanes(2)):
        thread.join(60)
        assert not thread.is_alive()


def both(lanes: Lanes) -> list[threading.Thread]:
    return lanes.run([threading.current_thread, threading.current_thread], 2 * LEAST)


class Held:
    """Stands for the tensors of a part."""


@pytest.mark.parametrize("error", [MemoryError("no room"), RuntimeError("broken")])
def test_what_a_failed_part_held_is_free_at_once(error: Exception) -> None:
    """Not only at the next collection: the halves of a batch need the memory that it did not fit."""
    lanes, seen = Lanes(2), list[weakref.ref[Held]]()

    def fails() -> int:
        tensors = Held()
        seen.append(weakref.ref(tensors))
        raise type(error)(*error.args)

    gc.disable()
    try:
        with suppress(type(error)):
            lanes.run([fails, fails], 2 * LEAST)
        lanes.run([lambda: 1, lambda: 2], 2 * LEAST)  # both are done with what they did before
        assert [ref() for ref in seen] == [None, None]
    finally:
        gc.enable()
