"""Products that torch keeps to itself: what they give, and what happens where they are not there."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from embedwell.engine.cpu import operators
from embedwell.engine.cpu.backend import CpuBackend
from embedwell.engine.cpu.surgery import PackedLinear
from tests.core.engine import small_models as small

FLAGS = set(operators.CPUINFO.read_text().split())
HAS_BFLOAT16 = "avx_ne_convert" in FLAGS or {"avx512bw", "avx512vl", "avx512dq"} <= FLAGS
DTYPES = (
    torch.float32,
    pytest.param(
        torch.bfloat16,
        marks=pytest.mark.skipif(not HAS_BFLOAT16, reason="oneDNN has none in it without AVX-512"),
    ),
)
GONE = ("no such ending", "none")
WRONG = ("relu", "")


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """What one test found out of the operators is nothing to the next."""
    operators.usable.cache_clear()
    with torch.inference_mode():
        yield
    operators.usable.cache_clear()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", operators.FUSED)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 48), (7, 48), (1, 7, 48), (3, 7, 48), (1, 1, 48)])
def test_a_packed_layer_is_a_plain_one_and_its_activation(
    dtype: torch.dtype, activation: str, bias: bool, shape: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(48, 75, bias).to(dtype)
    rows = torch.randn(shape).to(dtype)
    found = PackedLinear(layer, activation)(rows)
    plain = nn.functional.linear(
        rows.float(), layer.weight.float(), layer.bias.float() if bias else None
    )
    wanted = operators.PLAIN[activation](plain)
    assert (found.dtype, found.shape) == (dtype, wanted.shape)
    error = (found.float() - wanted).abs().max() / wanted.abs().max()
    assert float(error) < {torch.float32: 1e-6, torch.bfloat16: 4e-3}[dtype]


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_packed_layer_says_what_it_takes(dtype: torch.dtype) -> None:
    layer = nn.Linear(48, 75).to(dtype)
    assert PackedLinear(layer).packed_bytes == 48 * 75 * dtype.itemsize


def test_rows_that_lie_apart_in_memory_are_taken_too() -> None:
    layer, rows = nn.Linear(8, 5), torch.randn(8, 6).t()
    torch.testing.assert_close(PackedLinear(layer)(rows), layer(rows))


@pytest.mark.parametrize("dtype", DTYPES)
def test_they_are_usable_here(dtype: torch.dtype, caplog: pytest.LogCaptureFixture) -> None:
    assert operators.usable(dtype)
    assert not caplog.messages


@pytest.mark.parametrize(
    ("ending", "said"),
    [
        (GONE, "packed products are not used (RuntimeError: "),
        (WRONG, "packed products with activation 'gelu' are wrong here: not used"),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_where_they_do_not_work_plain_layers_serve_and_it_is_said_once(
    dtype: str,
    ending: tuple[str, str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    if dtype == "bfloat16" and not HAS_BFLOAT16:
        said = "packed products are not used (RuntimeError: "  # whatever their endings
    monkeypatch.setitem(operators.FUSED, "gelu", ending)
    folder = small.build(tmp_path, "bert")
    texts = small.random_texts(1, [5, 12, 5, 1, 88])
    for _ in range(2):
        encoder = CpuBackend(2, dtype).load(folder, small.manifest(folder))
        assert (encoder.facts.verdict.dtype, encoder.facts.verdict.fast) == (dtype, False)
        distances = small.distances(
            encoder.encode(small.batch(texts)), small.stock_means(folder, texts)
        )
        assert distances.max() < {"float32": 1e-9, "bfloat16": 5e-4}[dtype]
    (message,) = caplog.messages
    assert message.startswith(said)
    assert caplog.records[0].levelno == logging.WARNING


@pytest.mark.parametrize(
    ("text", "native"),
    [
        ("flags\t\t: fpu avx512_bf16 sse\n", True),
        ("flags\t\t: fpu amx_bf16\n", True),
        ("Features\t: fp asimd bf16 i8mm\n", True),
        ("flags\t\t: fpu avx512f avx512_bf16x avx512_vnni\n", False),
        ("", False),
        (None, False),
    ],
)
def test_the_processor_says_what_it_has(
    text: str | None, native: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operators, "CPUINFO", tmp_path / "cpuinfo")
    if text is not None:
        (tmp_path / "cpuinfo").write_text(text)
    assert operators.native_bfloat16() is native
