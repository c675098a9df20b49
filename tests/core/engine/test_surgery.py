"""Linear layers replaced and activations fused, by architecture and in modules made for trouble."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from transformers.activations import ACT2FN

from embedwell.engine import parity, transformer
from embedwell.engine.body import Body
from embedwell.engine.cpu import surgery
from embedwell.engine.cpu.surgery import PackedLinear, kind_of
from tests.core.engine import small_models as small

# By kind: linear layers that are packed, and those of them that end with an activation. Of
# ModernBERT half of the output goes into it, of ESM a function does it; ALBERT's layers are one.
FUSED: dict[str, tuple[int, dict[str, int]]] = {
    "bert": (12, {"gelu": 2}),
    "roberta": (12, {"gelu": 2}),
    "xlm-roberta": (12, {"gelu": 2}),
    "electra": (13, {"gelu": 2}),
    "mpnet": (12, {"gelu": 2}),
    "distilbert": (12, {"gelu": 2}),
    "albert": (7, {"gelu_tanh": 1}),
    "modernbert": (12, {}),
    "nomic_bert": (14, {"silu": 2}),
    "deberta-v2": (12, {"gelu": 2}),
    "t5": (12, {"relu": 2}),
    "qwen3": (14, {"silu": 2}),
    "gemma2": (14, {"gelu_tanh": 2}),
    "gemma3_text": (14, {"gelu_tanh": 2}),
    "llama": (14, {"silu": 2}),
    "mistral": (14, {"silu": 2}),
    "esm": (13, {}),
    "mobilebert": (19, {"relu": 2}),
    "gpt2": (0, {}),
    "gpt_neo": (12, {"gelu_tanh": 2}),
    "opt": (12, {"relu": 2}),
}
GELU = {"gelu": "gelu", "gelu_python": "gelu"}
TANH = ("gelu_new", "gelu_fast", "gelu_accurate", "gelu_pytorch_tanh", "gelu_python_tanh")
KINDS = GELU | dict.fromkeys(TANH, "gelu_tanh") | {"relu": "relu", "silu": "silu", "swish": "silu"}


@pytest.fixture(autouse=True)
def inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


def packed(model: nn.Module) -> tuple[int, dict[str, int]]:
    """How many layers are packed, and with which activations."""
    layers = [module for module in model.modules() if isinstance(module, PackedLinear)]
    return len(layers), dict(Counter(layer.activation for layer in layers if layer.activation))


@pytest.mark.parametrize("kind", small.CONFIGS)
def test_what_is_fused_of_each_kind(kind: str, tmp_path: Path) -> None:
    small.build(tmp_path, kind)
    body = Body(transformer.load(tmp_path, small.manifest(tmp_path)))
    texts = parity.probe(body, (3, 5))
    before, size = body.rows(texts).end_to_end(), body.bytes
    surgery.pack(body.model, lambda: body.rows(texts))
    assert packed(body.model) == FUSED[kind]
    assert not any(type(module) is nn.Linear for module in body.model.modules())
    torch.testing.assert_close(body.rows(texts).end_to_end(), before, atol=1e-4, rtol=1e-4)
    assert body.bytes == size


@pytest.mark.parametrize("name", ACT2FN)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_an_activation_is_known_by_its_values(name: str) -> None:
    assert kind_of(ACT2FN[name]) == KINDS.get(name, "")


@pytest.mark.parametrize(
    "module",
    [nn.Identity(), nn.Dropout(), nn.LayerNorm(8), nn.Embedding(3, 3), nn.Bilinear(2, 2, 2)],
)
def test_other_modules_are_no_activations(module: nn.Module) -> None:
    assert kind_of(module.eval()) == ""


class Once(nn.Module):
    """A layer and an activation, used as each test says."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.layer, self.other = nn.Linear(8, 8), nn.Linear(8, 8)
        self.act: nn.Module = nn.GELU()

    def forward(self, rows: Tensor) -> Tensor:
        found: Tensor = self.act(self.layer(rows)) + self.other(rows)
        return found


class Apart(Once):
    def forward(self, rows: Tensor) -> Tensor:
        found: Tensor = self.act(self.layer(rows) * 2)
        return found


class Sometimes(Once):
    def forward(self, rows: Tensor) -> Tensor:
        found: Tensor = self.layer(self.act(self.layer(rows)))
        return found


class Half(Once):
    def forward(self, rows: Tensor) -> Tensor:
        whole: Tensor = self.act(self.layer(rows)) + self.act(rows)
        return whole


class Both(Once):
    def forward(self, rows: Tensor) -> Tensor:
        found: Tensor = self.act(self.layer(rows)) + self.act(self.other(rows))
        return found


class TwoNames(Once):
    def __init__(self) -> None:
        super().__init__()
        self.again, self.act_again = self.layer, self.act

    def forward(self, rows: Tensor) -> Tensor:
        found: Tensor = self.act_again(self.again(self.act(self.layer(rows))))
        return found


class Idle(Once):
    def forward(self, rows: Tensor) -> Tensor:
        return rows + 1


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (Once, (2, {"gelu": 1})),
        (Both, (2, {"gelu": 2})),
        (TwoNames, (2, {"gelu": 1})),
        (Apart, (2, {})),
        (Sometimes, (2, {})),
        (Half, (2, {})),
        (Idle, (2, {})),
    ],
)
def test_an_activation_is_fused_only_where_all_goes_into_it(
    kind: type[Once], expected: tuple[int, dict[str, int]]
) -> None:
    model, rows = kind(), torch.randn(5, 8)
    wanted = model(rows)
    surgery.pack(model, lambda: model(rows))
    assert packed(model) == expected
    assert isinstance(model.act, nn.Identity) is bool(expected[1])
    torch.testing.assert_close(model(rows), wanted)


def test_a_layer_of_two_names_stays_one() -> None:
    model = TwoNames()
    surgery.pack(model, lambda: model(torch.randn(5, 8)))
    assert model.layer is model.again
    assert model.act is model.act_again


def test_a_layer_that_is_more_than_linear_is_left_alone() -> None:
    class Louder(nn.Linear):
        def forward(self, rows: Tensor) -> Tensor:
            found: Tensor = super().forward(rows) * 2
            return found

    model = Once()
    model.layer = Louder(8, 8)
    surgery.pack(model, lambda: model(torch.randn(5, 8)))
    assert packed(model) == (1, {})


def test_what_was_replaced_is_not_kept() -> None:
    model = Once()
    layer = model.layer
    surgery.pack(model, lambda: model(torch.randn(5, 8)))
    assert layer.weight is None
