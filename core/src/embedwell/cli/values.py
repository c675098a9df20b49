"""Values of options, each within its bounds: what is not says so, with exit code 2."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

N = TypeVar("N", int, float)


def within(kind: type[N], low: N, high: N) -> Callable[[str], N]:
    """A number from `low` to `high`."""

    def value(word: str) -> N:
        try:
            number = kind(word)
        except ValueError:
            number = None
        if number is None or not low <= number <= high:
            raise argparse.ArgumentTypeError(f"{word[:40]!r}: say a number from {low} to {high}")
        return number

    return value


def output(word: str) -> str:
    """A file that can be written, or - for stdout."""
    path = Path(word)
    if word != "-" and (path.is_dir() or not os.access(path.absolute().parent, os.W_OK)):
        raise argparse.ArgumentTypeError(f"{word}: no file can be written there")
    return word
