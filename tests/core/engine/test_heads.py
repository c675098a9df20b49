"""Pooling and linear layers against sentence-transformers itself."""

import sys
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sentence_transformers.sentence_transformer.modules import Dense as StockDense
from sentence_transformers.sentence_transformer.modules import Pooling as StockPooling

from embedwell.engine import pooling
from embedwell.engine.heads import Heads
from embedwell.engine.packing import Group
from embedwell.engine.pooling import TokenRows
from embedwell.errors import InvalidModel
from embedwell.interfaces.models import Dense, Manifest, Normalize, Pool, Pooling
from tests.core.engine import small_models as small

TRANSLATED = pytest.mark.skipif(
    sys.version_info >= (3, 14), reason="torch no longer translates there"
)
MODES: tuple[Pool, ...] = get_args(Pool)
HIDDEN = 6


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return small.manifest(small.build(tmp_path_factory.mktemp("bert"), "bert"))


def heads(base: Manifest, folder: Path, *modules: Pooling | Dense | Normalize) -> Heads:
    from msgspec.structs import replace

    return Heads(folder, replace(base, modules=modules))


def laid(rows: list[torch.Tensor], widths: list[int], skip: int = 0) -> TokenRows:
    """Texts in rows as wide as that, what is behind each of them far from anything."""
    places = [torch.full((width, HIDDEN), 99.0) for width in widths]
    for place, row in zip(places, rows, strict=True):
        place[: len(row)] = row
    lengths = tuple(len(row) for row in rows)
    group = Group(np.zeros(sum(lengths), np.int64), lengths, (skip,) * len(rows))
    return TokenRows(torch.cat(places), pooling.blocks(group, widths))


def stock_pooling(rows: list[torch.Tensor], modes: Any, skip: int | None) -> torch.Tensor:
    longest = max(len(row) for row in rows)
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    padded = torch.full((len(rows), longest, HIDDEN), 9.0)
    for i, row in enumerate(rows):
        padded[i, : len(row)] = row
    features: dict[str, Any] = {"token_embeddings": padded, "attention_mask": mask}
    if skip is not None:
        features["prompt_length"] = skip
    pooling = StockPooling(HIDDEN, modes, include_prompt=skip is None)
    result: torch.Tensor = pooling(features)["sentence_embedding"]
    return result


@pytest.mark.parametrize("modes", [*((mode,) for mode in MODES), ("cls", "max", "mean"), MODES])
@pytest.mark.parametrize("skip", [None, 0, 1, 3, 5])
@pytest.mark.parametrize("widths", [[2, 3, 3, 7], [7, 7, 7, 7]])
def test_pooling_means_what_sentence_transformers_means(
    base: Manifest, tmp_path: Path, modes: tuple[Pool, ...], skip: int | None, widths: list[int]
) -> None:
    torch.manual_seed(1)
    rows = [torch.randn(length, HIDDEN) for length in (2, 3, 3, 7)]
    pool = heads(base, tmp_path, Pooling(modes, include_prompt=skip is None))
    found = pool(laid(rows, widths, skip or 0))
    torch.testing.assert_close(found, stock_pooling(rows, modes, skip))


@TRANSLATED
def test_pooling_runs_without_python() -> None:
    assert isinstance(pooling.program(), torch.jit.ScriptFunction)


def test_pooling_takes_no_other_mode() -> None:
    tokens = laid([torch.randn(2, HIDDEN)], [2])
    with pytest.raises((torch.jit.Error, AssertionError), match="no such mode"):
        pooling.program()(*tokens, ["median"], True)


def test_a_prompt_counts_where_the_model_says_so(base: Manifest, tmp_path: Path) -> None:
    rows = torch.randn(1, 4, HIDDEN)
    pool = heads(base, tmp_path, Pooling(("mean",), include_prompt=True))
    torch.testing.assert_close(pool(laid([*rows], [4], skip=2)), rows.mean(1))


ACTIVATIONS = {
    "identity": torch.nn.Identity(),
    "tanh": torch.nn.Tanh(),
    "relu": torch.nn.ReLU(),
    "gelu": torch.nn.GELU(),
    "sigmoid": torch.nn.Sigmoid(),
}


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("bias", [True, False])
def test_a_linear_layer(base: Manifest, tmp_path: Path, activation: Any, bias: bool) -> None:
    stock = StockDense(HIDDEN, 4, bias, ACTIVATIONS[activation])
    (tmp_path / "2_Dense").mkdir()
    stock.save(str(tmp_path / "2_Dense"))
    module = Dense("2_Dense", HIDDEN, 4, bias, activation)
    rows = torch.randn(3, 5, HIDDEN)
    made = heads(base, tmp_path, Pooling(("mean",)), Normalize(), module, Normalize())
    assert made.bytes == 4 * (4 * HIDDEN + 4 * bias)
    unit = torch.nn.functional.normalize(rows.mean(1))
    expected = stock({"sentence_embedding": unit})["sentence_embedding"]
    torch.testing.assert_close(made(laid([*rows], [5] * 3)), expected)


def test_only_a_final_normalize_is_left_to_the_caller(base: Manifest, tmp_path: Path) -> None:
    rows = torch.randn(2, 3, HIDDEN)
    tokens = laid([*rows], [3, 3])
    twice = heads(base, tmp_path, Pooling(("mean",)), Normalize(), Normalize())(tokens)
    torch.testing.assert_close(twice.norm(dim=1), torch.ones(2))
    once = heads(base, tmp_path, Pooling(("mean",)), Normalize())(tokens)
    torch.testing.assert_close(once, rows.mean(1))


@pytest.mark.parametrize(
    ("tensors", "changes", "reason"),
    [
        ({}, {}, "shape"),
        ({"linear.weight": (4, 5)}, {}, "shape"),
        ({"linear.weight": (4, 6)}, {"bias": True}, "bias"),
        ({"linear.weight": (4, 6), "linear.bias": (3,)}, {"bias": True}, "bias"),
        ({"linear.weight": (4, 6), "linear.bias": (4,)}, {}, "bias"),
        ({"linear.weight": (4, 6)}, {"weights": "other.safetensors"}, "cannot be read"),
        ({"linear.weight": (4, 6)}, {"weights": "../model.safetensors"}, "safetensors file"),
        ({"linear.weight": (4, 6)}, {"folder": "/etc"}, "safetensors file"),
        ({"linear.weight": (4, 6)}, {"weights": "pytorch_model.bin"}, "safetensors file"),
    ],
)
def test_wrong_linear_weights_are_refused(
    base: Manifest, tmp_path: Path, tensors: dict[str, Any], changes: Any, reason: str
) -> None:
    from msgspec.structs import replace

    (tmp_path / "d").mkdir()
    values = {name: torch.zeros(shape) for name, shape in tensors.items()}
    save_file(values, tmp_path / "d" / "model.safetensors")
    module = replace(Dense("d", HIDDEN, 4, False, "tanh"), **changes)
    with pytest.raises(InvalidModel, match=reason) as caught:
        heads(base, tmp_path, Pooling(("mean",)), module)
    assert str(tmp_path) not in caught.value.message


@pytest.mark.parametrize("modules", [(), (Normalize(),), (Pooling(("mean",)), Pooling(("cls",)))])
def test_modules_begin_with_one_pooling(base: Manifest, tmp_path: Path, modules: Any) -> None:
    with pytest.raises(InvalidModel, match="exactly one Pooling"):
        heads(base, tmp_path, *modules)


def test_dimensions_are_checked(base: Manifest, tmp_path: Path) -> None:
    save_file({"linear.weight": torch.zeros(4, 6)}, tmp_path / "model.safetensors")
    made = heads(base, tmp_path, Pooling(("mean",)), Dense("", 6, 4, False, "tanh"))
    made.check(6, 4)
    with pytest.raises(InvalidModel, match="4 dimensions, not 5"):
        made.check(6, 5)
    with pytest.raises(InvalidModel, match="does not fit"):
        made.check(7, 4)
