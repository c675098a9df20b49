"""A snapshot's transformer as a module: from configuration and weights, never from its code."""

import logging
from functools import cache
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from transformers import PretrainedConfig, PreTrainedModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_TEXT_ENCODING_MAPPING,
    MODEL_FOR_TEXT_ENCODING_MAPPING_NAMES,
    MODEL_MAPPING,
)
from transformers.utils import logging as transformers_logging

from embedwell.engine import weights
from embedwell.engine.memory import is_out_of_memory
from embedwell.errors import InvalidModel
from embedwell.interfaces.encoders import DeviceOutOfMemory
from embedwell.interfaces.models import Manifest

# Training and output switches that a checkpoint may carry and that would change what comes out.
NOT_OURS = {
    *("attn_implementation", "chunk_size_feed_forward", "dtype", "gradient_checkpointing"),
    *("model_type", "output_attentions", "output_hidden_states", "return_dict", "torch_dtype"),
}
NOT_AN_ENCODER = {"decoder_input_ids", "pixel_values", "input_features", "bbox"}


def load(snapshot: Path, manifest: Manifest) -> PreTrainedModel:
    """The body without a pooling head, float32, in evaluation mode, with stock attention.

    Raises InvalidModel with the reason, DeviceOutOfMemory.
    """
    _quiet()
    model = _read(snapshot / manifest.folder, manifest)
    model.requires_grad_(False)
    model.train(False)
    return model


def model_class(model_type: str) -> type[PreTrainedModel]:
    """The class that encodes text for this model type; imports it. Raises InvalidModel."""
    text_only = model_type in MODEL_FOR_TEXT_ENCODING_MAPPING_NAMES
    mapping: Any = MODEL_FOR_TEXT_ENCODING_MAPPING if text_only else MODEL_MAPPING
    try:
        found = mapping[CONFIG_MAPPING[model_type]]
    except KeyError:
        raise _unsupported(model_type) from None
    chosen: type[PreTrainedModel] = found[0] if isinstance(found, tuple) else found
    accepted = [*signature(chosen.forward).parameters]
    if accepted[1:2] != ["input_ids"] or NOT_AN_ENCODER.intersection(accepted):
        raise _unsupported(model_type)
    return chosen


def _unsupported(model_type: str) -> InvalidModel:
    return InvalidModel(f"Models of type {model_type[:100]!r} cannot be served as text encoders")


def _read(folder: Path, manifest: Manifest) -> PreTrainedModel:
    chosen = model_class(manifest.model_type)
    weights.refuse_foreign(folder, manifest.config)
    options: dict[str, Any] = {
        "config": _configuration(manifest),
        "dtype": torch.float32,
        "use_safetensors": True,
        "local_files_only": True,
        "trust_remote_code": False,
        "output_loading_info": True,
    }
    if "add_pooling_layer" in signature(chosen).parameters:
        options["add_pooling_layer"] = False
    loaded: Any
    try:
        loaded = chosen.from_pretrained(folder, **options)
    except Exception as error:
        raise _reason(error, folder) from None
    model: PreTrainedModel = loaded[0]
    weights.check(model, loaded[1])
    return model


def _configuration(manifest: Manifest) -> PretrainedConfig:
    values: dict[str, Any] = {k: v for k, v in manifest.config.items() if k not in NOT_OURS}
    try:
        config: PretrainedConfig = CONFIG_MAPPING[manifest.model_type].from_dict(values)
        config.use_cache = False
    except Exception as error:
        raise InvalidModel(f"Its config.json cannot be used: {_short(str(error))}") from None
    return config


def _reason(error: Exception, folder: Path) -> Exception:
    if is_out_of_memory(error):
        return DeviceOutOfMemory("the model's weights do not fit in memory")
    what = _short(str(error).replace(str(folder), "the model's folder"))
    if "ignore_mismatched_sizes" in what:
        what = "their shapes are not those that its config.json says"
    return InvalidModel(f"Its weights cannot be loaded ({type(error).__name__}): {what}")


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 300 else f"{line[:297]}..."


@cache
def _quiet() -> None:
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    logging.getLogger("transformers").setLevel(logging.ERROR)  # its notes reach us as InvalidModel
