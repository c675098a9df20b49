"""Every kind of model gives what transformers gives for each text alone, whatever the batch."""

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
from embedwell.interfaces.encoders import Encoder
from tests.core.engine import small_models as small

LENGTHS = [5, 12, 5, 1, 88, 30, 31, 90, 12, 5]
PACKED = {
    **dict.fromkeys(small.CONFIGS, True),
    **dict.fromkeys(("mpnet", "deberta-v2", "t5", "esm", "mobilebert", "gpt_neo"), False),
}
Loaded = tuple[Path, Encoder]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Loaded]:
    @functools.cache
    def load(kind: str) -> Loaded:
        folder = small.build(tmp_path_factory.mktemp(kind), kind)
        return folder, CpuBackend(2, "float32").load(folder, small.manifest(folder))

    return load


@pytest.mark.parametrize("kind", small.CONFIGS)
def test_a_mixed_batch_is_what_transformers_gives_one_by_one(
    kind: str, model: Callable[[str], Loaded]
) -> None:
    folder, encoder = model(kind)
    texts = small.random_texts(1, LENGTHS)
    rows = encoder.encode(small.batch(texts))
    assert rows.dtype == np.float32
    assert rows.flags.c_contiguous
    assert rows.shape == (len(texts), small.HIDDEN)
    assert small.distances(rows, small.stock_means(folder, texts)).max() < 1e-9


@pytest.mark.parametrize("kind", small.CONFIGS)
def test_packed_where_the_check_allows_it(kind: str, model: Callable[[str], Loaded]) -> None:
    facts = model(kind)[1].facts
    assert facts.verdict.packed is PACKED[kind], facts.verdict.why
    assert facts.verdict.single is (kind in ("esm", "mobilebert")), facts.verdict.why
    assert facts.verdict.why


@pytest.mark.parametrize("kind", small.CONFIGS)
def test_packed_products_serve_every_kind(kind: str, model: Callable[[str], Loaded]) -> None:
    verdict = model(kind)[1].facts.verdict
    assert (verdict.dtype, verdict.fast) == ("float32", operators.usable(torch.float32))
    assert verdict.cosine == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("name", small.ODD)
def test_sizes_activations_and_biases_do_not_matter(name: str, tmp_path: Path) -> None:
    kind, changes = small.ODD[name]
    folder = small.build(tmp_path, kind, **changes)
    encoder = CpuBackend(2, "float32").load(folder, small.manifest(folder))
    texts = small.random_texts(1, LENGTHS)
    rows = encoder.encode(small.batch(texts))
    assert small.distances(rows, small.stock_means(folder, texts)).max() < 1e-9
    assert encoder.facts.verdict.fast is operators.usable(torch.float32)


@pytest.mark.parametrize("kind", ["roberta", "mpnet", "xlm-roberta"])
def test_padding_tokens_inside_a_text_are_counted_as_transformers_does(
    kind: str, model: Callable[[str], Loaded]
) -> None:
    folder, encoder = model(kind)
    texts = [[5, 1, 9, 1, 1, 7], [4, 8], [1, 5, 6]]
    distances = small.distances(
        encoder.encode(small.batch(texts)), small.stock_means(folder, texts)
    )
    assert distances.max() < 1e-9


@pytest.mark.parametrize("kind", ["bert", "modernbert", "qwen3", "mpnet", "t5"])
@hypothesis_settings(max_examples=8)
@given(data=st.data())
def test_batch_mates_and_order_do_not_change_a_vector(
    kind: str, model: Callable[[str], Loaded], data: st.DataObject
) -> None:
    encoder = model(kind)[1]
    lengths = data.draw(st.lists(st.integers(1, 80), min_size=1, max_size=7))
    texts = small.random_texts(data.draw(st.integers(0, 99)), lengths)
    alone = np.concatenate([encoder.encode(small.batch([text])) for text in texts])
    places = data.draw(st.permutations(range(len(texts))))
    cut = data.draw(st.integers(0, len(texts)))
    parts = [part for part in (places[:cut], places[cut:]) if part]
    together = [encoder.encode(small.batch([texts[i] for i in part])) for part in parts]
    assert small.distances(np.concatenate(together), alone[list(places)]).max() < 1e-9


@pytest.mark.parametrize("kind", ["bert", "mpnet"])
def test_a_batch_beyond_the_limit_runs_in_parts(kind: str, model: Callable[[str], Loaded]) -> None:
    folder, encoder = model(kind)
    texts = small.random_texts(3, [80] * 30 + [3] * 200)
    rows = encoder.encode(small.batch(texts))
    chosen = [0, 29, 30, 229]
    expected = small.stock_means(folder, [texts[i] for i in chosen])
    assert small.distances(rows[chosen], expected).max() < 1e-9
