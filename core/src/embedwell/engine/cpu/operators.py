"""The only place that calls operators which torch keeps to itself, each with a plain way round."""

import logging
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from embedwell.engine.scripts import translated

log = logging.getLogger(__name__)
CPUINFO = Path("/proc/cpuinfo")
TOKENS = 2048  # a hint of how many rows a product will have
# What a product may end with, in oneDNN's words.
FUSED: dict[str, tuple[str, str]] = {
    "": ("none", ""),
    "gelu": ("gelu", "none"),
    "gelu_tanh": ("gelu", "tanh"),
    "relu": ("relu", ""),
    "silu": ("swish", ""),
}
PLAIN: dict[str, Callable[[Tensor], Tensor]] = {
    "": lambda rows: rows,
    "gelu": functional.gelu,
    "gelu_tanh": lambda rows: functional.gelu(rows, approximate="tanh"),
    "relu": functional.relu,
    "silu": functional.silu,
}
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 2e-2}  # of the check's largest number


def pack(weight: Tensor) -> Tensor:
    """`[outputs, inputs]` as oneDNN wants it, laid out once rather than at every product."""
    packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), TOKENS)
    return packed


def linear(rows: Tensor, packed: Tensor, bias: Tensor | None, activation: str) -> Tensor:
    """`rows` `[…, inputs]` times a packed weight, with bias and activation in the same pass."""
    return translated(_product)(rows, packed, bias, *FUSED[activation])


def _product(
    rows: Tensor, packed: Tensor, bias: Tensor | None, kind: str, algorithm: str
) -> Tensor:
    # As TorchScript, for a program that is recorded takes the list in no other way.
    product: Tensor = torch.ops.mkldnn._linear_pointwise(rows, packed, bias, kind, [], algorithm)
    return product


@cache
def usable(dtype: torch.dtype) -> bool:
    """Whether packed products exist here and give what plain ones give; logs why not, once."""
    try:
        return all(_agrees(activation, dtype) for activation in FUSED)
    except (AttributeError, RuntimeError, TypeError, ValueError) as error:
        log.warning("packed products are not used (%s: %.200s)", type(error).__name__, error)
        return False


def native_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 numbers itself; elsewhere they are slower."""
    return _has({"avx512_bf16", "amx_bf16", "bf16"})


def _has(wanted: set[str]) -> bool:
    try:
        flags = CPUINFO.read_text("utf-8", "replace").split()
    except OSError:
        return False
    return not wanted.isdisjoint(flags)


@torch.inference_mode()
def _agrees(activation: str, dtype: torch.dtype) -> bool:
    dice = torch.Generator().manual_seed(0)
    rows, weight, bias = (  # so that products are about 1, where activations differ most
        (torch.randn(shape, generator=dice) / 3).to(dtype) for shape in ((3, 64), (48, 64), (48,))
    )
    found = linear(rows, pack(weight), bias, activation).float()
    wanted = PLAIN[activation](functional.linear(rows.float(), weight.float(), bias.float()))
    agrees = bool((found - wanted).abs().max() <= TOLERANCE[dtype] * wanted.abs().max())
    if not agrees:
        log.warning("packed products with activation %r are wrong here: not used", activation)
    return agrees
