"""Linear layers in 8-bit integers: weights by output channel, activations by token.

A scale of its own for every token keeps a vector from depending on what shares its batch.
"""

import threading
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from embedwell.engine.cpu import operators

BLOCK = 512  # rows whose intermediate results stay in the cache
MOST = 127  # integers are symmetric about 0
SMALLEST = 1e-12  # the largest number of a token that is all zeros


class Quantizer:
    """Activations as bytes, for all layers of one model.

    It keeps the last ones, for query, key and value layers are given the very same tensor.
    """

    def __init__(self) -> None:
        self._last = threading.local()  # parts of a batch run side by side

    def __call__(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Unsigned bytes around 128 `[n, inputs]`; what a step is worth in each row `[n, 1]`."""
        if rows is not getattr(self._last, "given", None):
            self._last.given = rows
            self._last.found = _quantized(rows.reshape(-1, rows.shape[-1]))
        found: tuple[Tensor, Tensor] = self._last.found
        return found


def _quantized(rows: Tensor) -> tuple[Tensor, Tensor]:
    found = torch.empty(rows.shape, dtype=torch.uint8)
    steps = torch.empty(*rows.shape[:-1], 1)
    for part in _blocks(rows.shape[0]):
        given = rows[part]
        step = given.abs().amax(-1, keepdim=True).float().clamp_(min=SMALLEST).div_(MOST)
        whole = (given * step.reciprocal()).round_().to(torch.int8)
        torch.bitwise_xor(whole.view(torch.uint8), 128, out=found[part])  # adds 128
        steps[part] = step
    return found, steps


def _blocks(count: int) -> Iterator[slice]:
    return (slice(start, start + BLOCK) for start in range(0, count, BLOCK))


class Int8Linear(nn.Module):
    """An nn.Linear whose products are of bytes; rows in and out keep their dtype."""

    def __init__(self, quantizer: Quantizer, layer: nn.Linear, activation: str) -> None:
        super().__init__()
        weight = layer.weight.float()
        self.scales = weight.abs().amax(1).clamp_(min=SMALLEST).div_(MOST)
        whole = (weight / self.scales[:, None]).round_().to(torch.int8)
        self.weight = operators.pack_int8(whole)
        self.zeros = torch.zeros(len(whole), dtype=torch.int64)
        self.bias: Tensor | None = layer.bias
        self.activation = operators.PLAIN[activation]
        self.quantizer = quantizer
        self.packed_bytes = whole.nbytes + self.scales.nbytes + self.zeros.nbytes

    def forward(self, rows: Tensor) -> Tensor:
        whole, steps = self.quantizer(rows)
        found = rows.new_empty(len(whole), len(self.scales))
        for part in _blocks(len(whole)):
            product = operators.linear_int8(
                whole[part], self.weight, self.scales, self.zeros, rows.dtype
            )
            product.mul_(steps[part])
            found[part] = self.activation(product if self.bias is None else product.add_(self.bias))
        return found.view(*rows.shape[:-1], -1)
