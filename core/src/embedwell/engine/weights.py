"""Whether a body's weights are whole, and the small weight files of heads."""

import re
from collections.abc import Collection, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from transformers import PreTrainedModel

from embedwell.errors import InvalidModel

UNUSED = re.compile(r"(^|\.)(pooler|lm_head|classifier|cls)\.")


def refuse_foreign(folder: Path, config: Mapping[str, Any]) -> None:
    """InvalidModel for weights that only another library could read."""
    if config.get("quantization_config"):
        raise InvalidModel("Its weights are quantised; only unquantised weights can be served")
    if (folder / "adapter_config.json").exists():
        raise InvalidModel("It is an adapter (PEFT); merge it into its base model first")


def check(model: PreTrainedModel, report: Mapping[str, Any]) -> None:
    """InvalidModel unless every weight of the body came from the file.

    Weights of heads that are not used may be absent, and others left over; weights that are left
    over but named like the body's own mean that config.json describes a smaller model.
    """
    missing = [key for key in report["missing_keys"] if not UNUSED.search(key)]
    if missing:
        raise InvalidModel(f"Its weights are incomplete: {_some(missing)} not found")
    if report.get("mismatched_keys"):
        keys = [str(key[0]) for key in report["mismatched_keys"]]
        raise InvalidModel(f"Its weights have other shapes than config.json says: {_some(keys)}")
    if report.get("error_msgs"):
        raise InvalidModel("Its weights could not be read completely")
    beyond = _beyond(model, report["unexpected_keys"])
    if beyond:
        raise InvalidModel(f"Its weights have more layers than config.json says: {_some(beyond)}")


def _beyond(model: PreTrainedModel, unexpected: Collection[str]) -> list[str]:
    own = {_numberless(name) for name in model.state_dict()}
    prefix = f"{model.base_model_prefix}."
    return [key for key in unexpected if _numberless(key.removeprefix(prefix)) in own]


def _numberless(name: str) -> str:
    return re.sub(r"\d+", "#", name)


def _some(keys: Collection[str]) -> str:
    shown = ", ".join(key[:100] for key in sorted(keys)[:3])
    return f"{shown} and {len(keys) - 3} more" if len(keys) > 3 else shown


def linear(snapshot: Path, folder: str, name: str) -> dict[str, Tensor]:
    """A Dense module's tensors in float32, by name; InvalidModel where they cannot be read."""
    path = PurePosixPath(folder) / name
    if path.is_absolute() or ".." in path.parts or path.suffix != ".safetensors":
        raise InvalidModel("A Dense module's weights must be a safetensors file in its folder")
    try:
        tensors = load_file(snapshot / path)
    except (OSError, SafetensorError):
        raise InvalidModel(f"The Dense module's weights cannot be read: {path}") from None
    return {key: tensor.float() for key, tensor in tensors.items()}
