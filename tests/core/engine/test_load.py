"""Snapshots that must not be loaded, and why."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from msgspec.structs import replace
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForMaskedLM, BertModel

from embedwell.engine.cpu.backend import CpuBackend
from embedwell.errors import InvalidModel
from embedwell.interfaces.models import Dense, Pooling
from tests.core.engine import small_models as small

BACKEND = CpuBackend(2, "float32")


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    return small.build(tmp_path / "bert", "bert")


def rewrite(folder: Path, change: Any) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def refused(folder: Path, reason: str, **changes: Any) -> str:
    with pytest.raises(InvalidModel, match=reason) as caught:
        BACKEND.load(folder, small.manifest(folder, **changes))
    assert str(folder) not in caught.value.message
    assert "Traceback" not in caught.value.message
    return caught.value.message


def configured(folder: Path, **values: Any) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((folder / "config.json").read_text())
    return config | values


def test_a_missing_weight_is_never_made_up(bert: Path) -> None:
    rewrite(bert, lambda t: t.pop("encoder.layer.1.output.dense.weight"))
    message = refused(bert, "incomplete")
    assert "encoder.layer.1.output.dense.weight" in message


def test_weights_of_other_shapes_than_the_configuration_says(bert: Path) -> None:
    rewrite(bert, lambda t: t.update({"encoder.layer.1.output.dense.bias": torch.zeros(3)}))
    refused(bert, "shapes are not those that its config.json says")


def test_the_log_says_which_model_was_not_loaded(
    bert: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rewrite(bert, lambda t: t.pop("encoder.layer.1.output.dense.weight"))
    with caplog.at_level(logging.INFO, "embedwell.engine.cpu.backend"):
        refused(bert, "incomplete")
    assert f"The model in {bert} was not loaded" in caplog.messages


def test_many_missing_weights_are_counted(bert: Path) -> None:
    rewrite(bert, lambda t: [t.pop(key) for key in list(t) if "layer.0" in key])
    assert "more not found" in refused(bert, "incomplete")


def test_a_weight_of_another_shape(bert: Path) -> None:
    rewrite(bert, lambda t: t.update({"embeddings.LayerNorm.bias": torch.zeros(33)}))
    refused(bert, "other shapes|cannot be loaded")


def test_more_layers_than_the_configuration_says(bert: Path) -> None:
    changed = small.manifest(bert, config=configured(bert, num_hidden_layers=1))
    with pytest.raises(InvalidModel, match="more layers"):
        BACKEND.load(bert, changed)


@pytest.mark.parametrize("with_prefix", [False, True])
def test_heads_that_are_not_used_do_not_matter(tmp_path: Path, with_prefix: bool) -> None:
    config = BertConfig(**small.CONFIGS["bert"])
    model = BertForMaskedLM(config) if with_prefix else BertModel(config)
    model.save_pretrained(tmp_path)
    encoder = BACKEND.load(
        tmp_path, small.manifest(tmp_path, config=configured(tmp_path, model_type="bert"))
    )
    assert encoder.facts.verdict.packed


def test_no_weights(bert: Path) -> None:
    (bert / "model.safetensors").unlink()
    refused(bert, "cannot be loaded")


def test_pickled_weights_are_not_looked_at(bert: Path) -> None:
    torch.save({}, bert / "pytorch_model.bin")
    (bert / "model.safetensors").unlink()
    refused(bert, "cannot be loaded")


def test_a_damaged_file(bert: Path) -> None:
    data = (bert / "model.safetensors").read_bytes()
    (bert / "model.safetensors").write_bytes(data[: len(data) // 2])
    refused(bert, "cannot be loaded")


@pytest.mark.parametrize("kind", ["nonsense", "clip", "bart", "whisper", "vit", "x" * 5000])
def test_other_kinds_of_model(bert: Path, kind: str) -> None:
    assert len(refused(bert, "cannot be served", model_type=kind)) < 300


def test_a_configuration_that_makes_no_sense(bert: Path) -> None:
    config = configured(bert, num_attention_heads="many")
    refused(bert, "config.json cannot be used", config=config)


def test_quantised_weights(bert: Path) -> None:
    config = configured(bert, quantization_config={"quant_method": "gptq"})
    refused(bert, "quantised", config=config)


def test_an_adapter(bert: Path) -> None:
    (bert / "adapter_config.json").write_text("{}")
    refused(bert, "adapter")


def test_code_in_the_folder_is_never_run(bert: Path, tmp_path: Path) -> None:
    (bert / "modeling_bert.py").write_text(f"open({str(tmp_path / 'canary')!r}, 'w')")
    auto = {"AutoModel": "modeling_bert.BertModel", "AutoConfig": "modeling_bert.BertConfig"}
    (bert / "config.json").write_text(json.dumps(configured(bert, auto_map=auto)))
    encoder = BACKEND.load(bert, small.manifest(bert))
    assert encoder.encode(small.batch([[5, 6]])).shape == (1, small.HIDDEN)
    assert not (tmp_path / "canary").exists()


def test_wrong_dimensions(bert: Path) -> None:
    refused(bert, "gives 32 dimensions, not 33", dimensions=33)


def test_a_linear_layer_that_does_not_fit(bert: Path) -> None:
    save_file({"linear.weight": torch.zeros(4, 6)}, bert / "dense.safetensors")
    dense = Dense("", 6, 4, False, "tanh", "dense.safetensors")
    refused(bert, "does not fit", modules=(Pooling(("mean",)), dense), dimensions=4)


def test_a_model_that_does_not_run(bert: Path) -> None:
    config = configured(bert, hidden_act="no_such_function")
    refused(bert, "cannot be loaded|does not run|cannot be used", config=config)


def test_training_switches_change_nothing(bert: Path) -> None:
    texts = small.random_texts(0, [7, 7, 3])
    plain = BACKEND.load(bert, small.manifest(bert)).encode(small.batch(texts))
    switches = {"return_dict": False, "output_hidden_states": True, "chunk_size_feed_forward": 5}
    switched = replace(small.manifest(bert), config=configured(bert, use_cache=True, **switches))
    assert (BACKEND.load(bert, switched).encode(small.batch(texts)) == plain).all()


def test_loading_prints_nothing(bert: Path, capfd: pytest.CaptureFixture[str]) -> None:
    capfd.readouterr()
    rewrite(bert, lambda t: t.update({"cls.bias": torch.zeros(3)}))
    BACKEND.load(bert, small.manifest(bert))
    assert capfd.readouterr() == ("", "")
