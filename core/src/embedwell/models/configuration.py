"""config.json by allowlist: what may reach transformers, and the sizes that it states."""

import re
from pathlib import Path
from typing import Any

from msgspec import Struct

from embedwell.errors import InvalidModel
from embedwell.models.documents import below, table, whole

MAX_DEPTH = 6
MAX_VALUES = 20_000
MAX_VOCABULARY = 10_000_000
_TYPE = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")  # no leading underscore: private switches
# What could name code or a kernel, choose precision or outputs, or only describes.
_DROPPED = {
    *("attn_implementation", "auto_map", "custom_pipelines", "dtype", "experts_implementation"),
    *("id2label", "kernel_config", "label2id", "name_or_path", "num_labels"),
    *("output_attentions", "output_hidden_states", "per_layer_config", "problem_type"),
    *("return_dict", "task_specific_params", "torch_dtype", "trust_remote_code", "use_kernels"),
}
_QUANTISED = ("quantization_config", "compression_config")


class Sizes(Struct, frozen=True):
    """What config.json says of the transformer's shape; names differ between model types."""

    hidden: int
    intermediate: int
    layers: int
    heads: int
    embedding: int
    vocabulary: int  # as far as stated


def read(root: Path, folder: str, extra: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Model type, and the configuration without what could name code; `extra` values win."""
    file = below(folder, "config.json")
    given = table(root, file)
    if given is None:
        raise InvalidModel(_why_none(root / folder, file))
    kind = given.get("model_type")
    if not isinstance(kind, str) or not _TYPE.fullmatch(kind):
        raise InvalidModel(f"{file}: model_type must name a kind of transformer")
    if any(given.get(key) for key in _QUANTISED):
        raise InvalidModel("Its weights are quantised; only float weights can be served")
    for key, value in given.items():
        if isinstance(value, dict) and "model_type" in value:
            raise InvalidModel(f"{file}: {key[:50]} makes it a composite or multimodal model")
    return kind, _Cleaner(file).clean(given | extra)


def sizes(config: dict[str, Any], file: str) -> Sizes:
    """Raises InvalidModel for a size that is missing or out of bounds."""
    hidden = whole(
        config, ("hidden_size", "dim", "d_model", "n_embd", "emb_dim"), file, most=65_536
    )
    middle = (
        *("intermediate_size", "hidden_dim", "d_ff", "d_inner"),
        *("n_inner", "encoder_ffn_dim", "ffn_dim"),
    )
    depth = ("num_hidden_layers", "n_layers", "n_layer", "num_layers", "encoder_layers")
    heads = ("num_attention_heads", "n_heads", "n_head", "num_heads", "encoder_attention_heads")
    tables = ("embedding_size", "d_embed", "word_embed_proj_dim")
    return Sizes(
        hidden=hidden,
        intermediate=whole(config, middle, file, most=1_000_000, default=4 * hidden),
        layers=whole(config, depth, file, most=1_000),
        heads=whole(config, heads, file, most=4_096),
        embedding=whole(config, tables, file, most=65_536, default=hidden),
        vocabulary=whole(
            config, ("vocab_size",), file, most=MAX_VOCABULARY, default=MAX_VOCABULARY
        ),
    )


def _why_none(folder: Path, file: str) -> str:
    if (folder / "adapter_config.json").is_file():
        return "It is an adapter (PEFT); merge it into its base model first"
    return f"{file} is missing: this is not a transformers model"


class _Cleaner:
    """Copies plain values, counting them."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._left = MAX_VALUES

    def clean(self, values: dict[str, Any], depth: int = 1) -> dict[str, Any]:
        return {
            key: self._value(value, depth)
            for key, value in values.items()
            if _KEY.fullmatch(key) and key not in _DROPPED and key not in _QUANTISED
        }

    def _value(self, value: Any, depth: int) -> Any:
        self._left -= 1
        if self._left < 0 or depth > MAX_DEPTH:
            raise InvalidModel(f"{self._file} is nested too deep or holds too many values")
        if isinstance(value, dict):
            return self.clean(value, depth + 1)
        if isinstance(value, list):
            return [self._value(item, depth + 1) for item in value]
        return value
