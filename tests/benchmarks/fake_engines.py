"""Engines that a worker's test can do without a model for."""

from collections.abc import Sequence

import numpy as np

from tests.benchmarks.engines.engine import Engine, Rows, Setting


class Letters(Engine):
    """A text's length and its number of a's; prints, as libraries do."""

    def __init__(self, setting: Setting, precision: str) -> None:
        print(f"loading {setting.model} in {precision}")

    def embed(self, texts: Sequence[str]) -> Rows:
        return np.array([[len(text), text.count("a")] for text in texts], np.float32)


class Missing(Engine):
    """Cannot be had."""

    def __init__(self, setting: Setting, precision: str) -> None:
        raise ValueError(f"{precision}: no such precision\nand more lines")


class Failing(Letters):
    """Fails at what is longer than the texts to warm up with."""

    def embed(self, texts: Sequence[str]) -> Rows:
        if max(map(len, texts)) > 100:
            raise RuntimeError("too long")
        return super().embed(texts)


class Dying(Letters):
    """Takes its process along."""

    def embed(self, texts: Sequence[str]) -> Rows:
        if len(texts) == 1:
            raise SystemExit("killed by something")
        return super().embed(texts)
