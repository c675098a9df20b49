"""The machine's product rate: what torch's best linear does at the model's own shapes.

python -m tests.benchmarks.speed.limit HIDDEN INTERMEDIATE prints GFLOP/s by precision, as JSON.
"""

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from tests.benchmarks.speed.arithmetic import Shape, product_rate

if TYPE_CHECKING:
    import torch

TOKENS = (512, 2048)  # rows of a product
ATTEMPTS = 5
REPEATS = 10


def measure(shape: Shape, dtype: "torch.dtype") -> float:
    """GFLOP/s of a layer, each product at the number of rows that suits it best."""
    return product_rate(
        {size: max(_rate(dtype, rows, *size) for rows in TOKENS) for size in shape.products()}
    )


def _rate(dtype: "torch.dtype", rows: int, given: int, made: int) -> float:
    """Of one product with a bias, its weight in oneDNN's own layout."""
    import torch

    x, bias = torch.randn(rows, given, dtype=dtype), torch.randn(made, dtype=dtype)
    weight = torch.ops.mkldnn._reorder_linear_weight(torch.randn(made, given, dtype=dtype), rows)

    def product() -> object:
        return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")

    return 2 * rows * given * made / _fastest(product) / 1e9


def _fastest(call: Callable[[], object]) -> float:
    """Seconds of one call in the best of several attempts."""
    call()
    best = float("inf")
    for _ in range(ATTEMPTS):
        began = time.perf_counter()
        for _ in range(REPEATS):
            call()
        best = min(best, (time.perf_counter() - began) / REPEATS)
    return best


def main() -> None:
    """Both precisions that a linear of torch has in this layout."""
    import torch

    shape = Shape(int(sys.argv[1]), int(sys.argv[2]), 1)
    with torch.inference_mode():
        found = {"fp32": measure(shape, torch.float32), "bf16": measure(shape, torch.bfloat16)}
    print(msgspec.json.encode(found).decode())


if __name__ == "__main__":
    main()
