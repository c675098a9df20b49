"""What options of several commands are: texts, and values within their bounds."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

CONFIG = "the configuration (default: EMBEDWELL_CONFIG, else ./config.toml if it exists)"
DATA_DIR = "where the server keeps its files (default: server.data_dir, ./data)"
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
