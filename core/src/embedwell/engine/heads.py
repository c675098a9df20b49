"""From token rows to one row a text: pooling, linear layers, unit length, all in float32.

Pooling means what sentence-transformers 6 means by it, prompts left out and single texts included.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from embedwell.engine import pooling, weights
from embedwell.engine.pooling import TokenRows
from embedwell.errors import InvalidModel
from embedwell.interfaces.models import Dense, Manifest, Normalize, Pooling

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda rows: rows,
    "tanh": torch.tanh,
    "relu": functional.relu,
    "gelu": functional.gelu,
    "sigmoid": torch.sigmoid,
}


class Heads:
    """A model's modules after the transformer, but for a final Normalize."""

    def __init__(self, snapshot: Path, manifest: Manifest) -> None:
        """Reads the linear layers' weights; raises InvalidModel."""
        first, *rest = manifest.modules or (None,)
        if not isinstance(first, Pooling) or any(isinstance(m, Pooling) for m in rest):
            raise InvalidModel("Its modules must begin with exactly one Pooling")
        if rest and isinstance(rest[-1], Normalize):
            del rest[-1]
        self._modes: list[str] = [*first.modes]
        self._include_prompt = first.include_prompt
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
            rows = self(TokenRows(torch.ones(1, hidden), torch.tensor([[0, 1, 1, 1, 0]])))
        except RuntimeError:
            raise InvalidModel("The Dense module does not fit what comes before it") from None
        if rows.shape[1] != dimensions:
            raise InvalidModel(f"It gives {rows.shape[1]} dimensions, not {dimensions}")

    def __call__(self, tokens: TokenRows) -> Tensor:
        """Rows `[n, dimensions]` in the order of the texts."""
        rows = pooling.program()(*tokens, self._modes, self._include_prompt)
        for step in self._steps:
            rows = functional.normalize(rows) if step is None else step(rows)
        return rows


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
