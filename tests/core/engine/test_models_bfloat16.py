"""Every kind of model in bfloat16: near to what transformers gives in float32, whatever the batch."""

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from embedwell.engine.cpu import operators
from embedwell.engine.cpu.backend import CpuBackend
from embedwell.engine.tolerances import FLOORS
from embedwell.interfaces.encoders import Encoder
from tests.core.engine import small_models as small

PADDED = ("mpnet", "deberta-v2", "t5", "esm", "mobilebert", "gpt_neo")
# (what it computes in, whether its rows are packed)
RUNS = {
    **dict.fromkeys(small.CONFIGS, ("bfloat16", True)),
    **dict.fromkeys(PADDED, ("bfloat16", False)),
}
POOL = (1, 2, 3, 5, 5, 8, 13, 21, 24, 25, 34, 55, 80, 89)  # lengths of the texts that are mixed
Loaded = tuple[Encoder, "list[list[int]]", "np.ndarray[tuple[int, int], np.dtype[np.float32]]"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Loaded]:
    """An encoder, texts, and their vectors by transformers."""

    @functools.cache
    def load(kind: str) -> Loaded:
        folder = small.build(tmp_path_factory.mktemp(kind), kind)
        encoder = CpuBackend(2, "bfloat16").load(folder, small.manifest(folder))
        texts = small.random_texts(5, [*POOL])
        return encoder, texts, np.asarray(small.stock_means(folder, texts), np.float32)

    return load


@pytest.mark.parametrize("kind", small.CONFIGS)
def test_what_runs_in_it(kind: str, model: Callable[[str], Loaded]) -> None:
    verdict = model(kind)[0].facts.verdict
    assert (verdict.dtype, verdict.packed) == RUNS[kind], verdict.why
    assert verdict.fast is operators.usable(torch.bfloat16)
    assert verdict.cosine is not None
    assert FLOORS["bfloat16"] <= verdict.cosine < 1


@pytest.mark.parametrize("kind", small.CONFIGS)
@hypothesis_settings(max_examples=8)
@given(chosen=st.lists(st.integers(0, len(POOL) - 1), min_size=1, max_size=30))
def test_any_mixture_of_texts_stays_near(
    kind: str, model: Callable[[str], Loaded], chosen: list[int]
) -> None:
    encoder, texts, wanted = model(kind)
    rows = encoder.encode(small.batch([texts[i] for i in chosen]))
    assert rows.dtype == np.float32
    assert rows.flags.c_contiguous
    assert small.distances(rows, wanted[chosen]).max() <= 1 - FLOORS["bfloat16"]


@pytest.mark.parametrize("name", small.ODD)
def test_sizes_activations_and_biases_do_not_matter(name: str, tmp_path: Path) -> None:
    kind, changes = small.ODD[name]
    folder = small.build(tmp_path, kind, **changes)
    encoder = CpuBackend(2, "bfloat16").load(folder, small.manifest(folder))
    texts = small.random_texts(1, [*POOL])
    distances = small.distances(
        encoder.encode(small.batch(texts)), small.stock_means(folder, texts)
    )
    assert encoder.facts.verdict.dtype == "bfloat16", encoder.facts.verdict.why
    assert distances.max() <= 1 - FLOORS["bfloat16"]


@pytest.mark.parametrize("kind", ["bert", "modernbert", "llama", "t5"])
def test_where_rounding_takes_too_much_float32_stays(kind: str, tmp_path: Path) -> None:
    """Wide weights make attention a choice of one token, which rounding changes."""
    folder = small.build(tmp_path, kind, spread=2.0)
    encoder = CpuBackend(2, "bfloat16").load(folder, small.manifest(folder))
    verdict = encoder.facts.verdict
    assert verdict.dtype == "float32"
    assert "bfloat16 keeps its vectors to a cosine of 0." in verdict.why
    assert ", less than 0.9995; float32 keeps its vectors to a cosine of 1.000000" in verdict.why
    texts = small.random_texts(1, [*POOL])
    rows = encoder.encode(small.batch(texts))
    assert small.distances(rows, small.stock_means(folder, texts)).max() < 1e-6
