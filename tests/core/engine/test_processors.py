"""Who computes with how many processors."""

import threading

import pytest
import torch

from embedwell.engine.cpu.processors import MOST, WORTH, Processors
from embedwell.interfaces.encoders import Batch

WEIGHTS = WORTH // 100
FEW = 101  # tokens


def batch(*lengths: int) -> Batch:
    return Batch(b"\0" * 4 * sum(lengths), lengths, (0,) * len(lengths))


def used(processors: Processors, own: Batch) -> int:
    """Threads of a product in a thread of its own."""
    found: list[int] = []

    def run() -> None:
        with processors.taken(WEIGHTS, own):
            found.append(torch.get_num_threads())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return found[0]


@pytest.mark.parametrize(
    ("count", "lengths", "threads"),
    [
        (2, (FEW,), 2),
        (2, (FEW - 2,), 1),
        (2, (FEW, FEW), 1),
        (6, (9, 9), 1),
        (2 * MOST + 1, (9, 9), 2),
        (2 * MOST + 1, (FEW,), 2 * MOST + 1),
    ],
)
def test_a_long_text_takes_all_and_a_batch_its_share(
    count: int, lengths: tuple[int, ...], threads: int
) -> None:
    assert used(Processors(count), batch(*lengths)) == threads


def test_beside_another_a_long_text_has_its_share() -> None:
    processors = Processors(2)
    with processors.taken(WEIGHTS, batch(1)):
        assert used(processors, batch(FEW)) == 1
    assert used(processors, batch(FEW)) == 2


def test_what_fails_takes_nothing_any_more() -> None:
    processors = Processors(2)
    with pytest.raises(MemoryError), processors.taken(WEIGHTS, batch(1)):
        raise MemoryError
    assert used(processors, batch(FEW)) == 2
