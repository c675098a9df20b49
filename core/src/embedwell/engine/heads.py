"""From token rows to one row a text: pooling, linear layers, unit length, all in float32.

Pooling means what sentence-transformers 6 means by it, prompts left out and single texts included.
"""

from collections.abc import Callable, Iterable
from math import sqrt
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from embedwell.engine import weights
from embedwell.errors import InvalidModel
from embedwell.interfaces.models import Dense, Manifest, Normalize, Pool, Pooling

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda rows: rows,
    "tanh": torch.tanh,
    "relu": functional.relu,
    "gelu": functional.gelu,
    "sigmoid": torch.sigmoid,
}
TINY = 1e-9  # the divisor where a prompt leaves no token to pool


class Block(NamedTuple):
    """Texts of one length: rows `[n, length, hidden]`, of which pooling leaves out the first."""

    rows: Tensor
    skip: int


class Heads:
    """A model's modules after the transformer, but for a final Normalize."""

    def __init__(self, snapshot: Path, manifest: Manifest) -> None:
        """Reads the linear layers' weights; raises InvalidModel."""
        first, *rest = manifest.modules or (None,)
        if not isinstance(first, Pooling) or any(isinstance(m, Pooling) for m in rest):
            raise InvalidModel("Its modules must begin with exactly one Pooling")
        if rest and isinstance(rest[-1], Normalize):
            del rest[-1]
        self._modes, self._include_prompt = first.modes, first.include_prompt
        self._steps: list[_Linear | None] = [
            _Linear(snapshot, m) if isinstance(m, Dense) else None for m in rest
        ]

    @property
    def bytes(self) -> int:
        """What its linear layers take in memory."""
        return sum(step.bytes for step in self._steps if step is not None)

    def check(self, hidden: int, dimensions: int) -> None:
        """InvalidModel unless token rows of `hidden` numbers come out as `dimensions` ones."""
        try:
            rows = self([Block(torch.ones(1, 1, hidden), 0)])
        except RuntimeError:
            raise InvalidModel("The Dense module does not fit what comes before it") from None
        if rows.shape[1] != dimensions:
            raise InvalidModel(f"It gives {rows.shape[1]} dimensions, not {dimensions}")

    def __call__(self, blocks: Iterable[Block]) -> Tensor:
        """Rows `[n, dimensions]` in the order of the blocks."""
        rows = torch.cat([self._pool(block) for block in blocks])
        for step in self._steps:
            rows = functional.normalize(rows) if step is None else step(rows)
        return rows

    def _pool(self, block: Block) -> Tensor:
        skip = 0 if self._include_prompt else block.skip
        pooled = [POOLS[mode](block.rows.float(), skip) for mode in self._modes]
        return pooled[0] if len(pooled) == 1 else torch.cat(pooled, dim=-1)


class _Linear:
    def __init__(self, snapshot: Path, module: Dense) -> None:
        tensors = weights.linear(snapshot, module.folder, module.weights)
        weight, bias = tensors.get("linear.weight"), tensors.get("linear.bias")
        if weight is None or tuple(weight.shape) != (module.outputs, module.inputs):
            raise InvalidModel("The Dense module's weights do not have the shape its config says")
        if (bias is not None) != module.bias or (bias is not None and len(bias) != module.outputs):
            raise InvalidModel("The Dense module's bias is not what its config says")
        self._weight, self._bias = weight, bias
        self._activation = ACTIVATIONS[module.activation]

    @property
    def bytes(self) -> int:
        return self._weight.nbytes + (self._bias.nbytes if self._bias is not None else 0)

    def __call__(self, rows: Tensor) -> Tensor:
        activated: Tensor = self._activation(functional.linear(rows, self._weight, self._bias))
        return activated


def _mean(rows: Tensor, skip: int) -> Tensor:
    kept = rows[:, skip:]
    return kept.sum(1) / max(kept.shape[1], TINY)


def _mean_sqrt(rows: Tensor, skip: int) -> Tensor:
    kept = rows[:, skip:]
    return kept.sum(1) / sqrt(max(kept.shape[1], TINY))


def _weighted_mean(rows: Tensor, skip: int) -> Tensor:
    kept = rows[:, skip:]
    places = torch.arange(1, rows.shape[1] + 1, dtype=rows.dtype)[skip:]
    return (kept * places[:, None]).sum(1) / max(float(places.sum()), TINY)


def _max(rows: Tensor, skip: int) -> Tensor:
    if skip >= rows.shape[1]:
        return rows.new_full((len(rows), rows.shape[2]), float("-inf"))
    return rows[:, skip:].amax(1)


def _cls(rows: Tensor, skip: int) -> Tensor:
    return rows[:, skip if skip < rows.shape[1] else 0]


def _last(rows: Tensor, skip: int) -> Tensor:
    return rows[:, -1] if skip < rows.shape[1] else torch.zeros_like(rows[:, 0])


POOLS: dict[Pool, Callable[[Tensor, int], Tensor]] = {
    "mean": _mean,
    "cls": _cls,
    "max": _max,
    "mean_sqrt_len_tokens": _mean_sqrt,
    "weightedmean": _weighted_mean,
    "lasttoken": _last,
}
