"""The batches that the same texts are put into. Pure."""

from collections.abc import Sequence
from random import Random

SIZES = (2, 3, 7, 16, 50)
Batches = Sequence[Sequence[int]]


def alone(count: int) -> Batches:
    """Each of `count` texts by itself."""
    return [[index] for index in range(count)]


def together(count: int) -> Sequence[Batches]:
    """All in one batch, then batches of each size in a random order of its own, the same ones
    at every call; each holds every index once.
    """
    dice = Random(0)  # noqa: S311 - the same batches again are the point
    orders = [dice.sample(range(count), count) for size in SIZES if size < count]
    return [[range(count)], *map(_cut, orders, SIZES)]


def _cut(order: Sequence[int], size: int) -> Batches:
    return [order[start : start + size] for start in range(0, len(order), size)]
