"""Little transformers with random weights, and what transformers itself says of them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from msgspec.structs import replace
from numpy.typing import NDArray
from transformers import AutoModel, T5EncoderModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from embedwell.engine.transformer import model_class
from embedwell.interfaces.encoders import Batch
from embedwell.interfaces.models import Manifest, Normalize, Pooling

VOCABULARY = 300
HIDDEN = 32
SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": HIDDEN,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
}
DECODER = {
    **SIZES, "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 256,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
CONFIGS: dict[str, dict[str, Any]] = {
    "bert": {**SIZES, "max_position_embeddings": 96},
    "roberta": {**SIZES, "max_position_embeddings": 98, "pad_token_id": 1},
    "xlm-roberta": {**SIZES, "max_position_embeddings": 98, "pad_token_id": 1},
    "electra": {**SIZES, "embedding_size": 16, "max_position_embeddings": 96},
    "mpnet": {**SIZES, "max_position_embeddings": 98, "pad_token_id": 1},
    "distilbert": {
        "vocab_size": VOCABULARY, "dim": HIDDEN, "n_layers": 2, "n_heads": 4, "hidden_dim": 64,
        "max_position_embeddings": 96,
    },
    "albert": {**SIZES, "embedding_size": 16, "max_position_embeddings": 96},
    "modernbert": {
        **SIZES, "num_hidden_layers": 3, "local_attention": 16, "global_attn_every_n_layers": 3,
        "max_position_embeddings": 256, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
        "cls_token_id": 1, "sep_token_id": 2,
    },
    "nomic_bert": {**SIZES, "head_dim": 8, "max_position_embeddings": 256, "pad_token_id": 0},
    "deberta-v2": {
        **SIZES, "max_position_embeddings": 96, "relative_attention": True, "position_buckets": 16,
        "pos_att_type": ["p2c", "c2p"], "norm_rel_ebd": "layer_norm", "share_att_key": True,
    },
    "t5": {
        "vocab_size": VOCABULARY, "d_model": HIDDEN, "d_kv": 8, "d_ff": 64, "num_layers": 2,
        "num_heads": 4, "decoder_start_token_id": 0,
    },
    "qwen3": DECODER,
    "gemma2": {**DECODER, "sliding_window": 24, "query_pre_attn_scalar": 8},
    "gemma3_text": {**DECODER, "sliding_window": 24, "query_pre_attn_scalar": 8},
    "llama": DECODER,
    "mistral": {**DECODER, "sliding_window": 24},
    "esm": {
        **SIZES, "max_position_embeddings": 98, "pad_token_id": 1, "mask_token_id": 32,
        "token_dropout": True, "position_embedding_type": "rotary", "emb_layer_norm_before": False,
    },
    "mobilebert": {
        **SIZES, "embedding_size": 16, "max_position_embeddings": 96, "intra_bottleneck_size": 16,
        "use_bottleneck": True, "num_feedforward_networks": 1,
    },
    "gpt2": {
        "vocab_size": VOCABULARY, "n_embd": HIDDEN, "n_layer": 2, "n_head": 4, "n_inner": 64,
        "n_positions": 96, "bos_token_id": 1, "eos_token_id": 2,
    },
    "gpt_neo": {
        "vocab_size": VOCABULARY, "hidden_size": HIDDEN, "num_layers": 2, "num_heads": 4,
        "attention_types": [[["global", "local"], 1]], "window_size": 24, "intermediate_size": 64,
        "max_position_embeddings": 96, "bos_token_id": 1, "eos_token_id": 2,
    },
    "opt": {
        **SIZES, "ffn_dim": 64, "max_position_embeddings": 96, "word_embed_proj_dim": HIDDEN,
    },
}  # fmt: skip


# Sizes that no vector register divides, heads of odd widths, biases where there were none.
ODD: dict[str, tuple[str, dict[str, Any]]] = {
    "bert 48": ("bert", {"hidden_size": 48, "num_attention_heads": 3, "intermediate_size": 75}),
    "bert 33": ("bert", {"hidden_size": 33, "num_attention_heads": 3, "intermediate_size": 1}),
    "roberta relu6": ("roberta", {"hidden_act": "relu6", "intermediate_size": 65}),
    "bert quick_gelu": ("bert", {"hidden_act": "quick_gelu"}),
    "bert one head": ("bert", {"num_attention_heads": 1, "num_hidden_layers": 1}),
    "distilbert relu": ("distilbert", {"activation": "relu", "hidden_dim": 31}),
    "modernbert biased": (
        "modernbert", {"attention_bias": True, "mlp_bias": True, "intermediate_size": 37}
    ),
    "llama biased": (
        "llama",
        {"attention_bias": True, "mlp_bias": True, "hidden_size": 48, "head_dim": 12,
         "num_key_value_heads": 1, "intermediate_size": 75},
    ),
    "qwen3 37": ("qwen3", {"intermediate_size": 37, "head_dim": 10, "num_key_value_heads": 4}),
    "t5 gated": ("t5", {"feed_forward_proj": "gated-gelu", "d_ff": 37}),
}  # fmt: skip


def build(folder: Path, model_type: str, *, spread: float = 0.15, **changes: Any) -> Path:
    """A saved model of this type, its weights wide enough that every token matters."""
    torch.manual_seed(7)
    config = CONFIG_MAPPING[model_type](**{**CONFIGS[model_type], **changes})
    model = model_class(model_type)(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1 and "norm" not in name.lower():
                parameter.normal_(0, spread)
    model.save_pretrained(folder)
    return folder


def manifest(folder: Path, **changes: Any) -> Manifest:
    """What a manifest reader would say of a folder that `build` made: mean pooling alone."""
    config = json.loads((folder / "config.json").read_text())
    hidden = config.get("hidden_size", HIDDEN)
    usual = Manifest(
        folder="",
        config=config,
        model_type=config["model_type"],
        dimensions=hidden,
        max_tokens=90,
        vocabulary=VOCABULARY,
        positions=None,
        hidden=hidden,
        intermediate=64,
        layers=2,
        heads=4,
        modules=(Pooling(("mean",)),),
        prompts={},
        default_prompt=None,
        lowercase=False,
        truncation_side="right",
        empty_token=None,
        prompt_closers=(),
        tensors=100_000,
        bytes=400_000,
        created=0,
    )
    return replace(usual, **changes)


def minilm_manifest(folder: Path) -> Manifest:
    """The manifest of the real all-MiniLM-L6-v2."""
    return manifest(
        folder,
        dimensions=384,
        max_tokens=256,
        vocabulary=30522,
        positions=512,
        hidden=384,
        intermediate=1536,
        layers=6,
        heads=12,
        modules=(Pooling(("mean",)), Normalize()),
        empty_token=101,
        prompt_closers=(102,),
        tensors=22_713_216,
        bytes=90_864_192,
    )


def random_texts(seed: int, lengths: list[int], vocabulary: int = VOCABULARY) -> list[list[int]]:
    """Token lists; ids from 3 on, so that no special token is among them."""
    dice = np.random.default_rng(seed)
    return [dice.integers(3, vocabulary, length).tolist() for length in lengths]


def batch(texts: list[list[int]], skips: list[int] | None = None) -> Batch:
    """Token lists as the batch that an encoder gets."""
    ids = np.array([token for text in texts for token in text], dtype="<i4").tobytes()
    return Batch(ids, tuple(map(len, texts)), tuple(skips or [0] * len(texts)))


def stock_rows(folder: Path, texts: list[list[int]]) -> list[torch.Tensor]:
    """Token rows `[length, hidden]` of each text alone, by transformers with eager attention."""
    kind = json.loads((folder / "config.json").read_text())["model_type"]
    loader: Any = T5EncoderModel if kind == "t5" else AutoModel
    model = loader.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    with torch.inference_mode():
        return [model(input_ids=torch.tensor([t])).last_hidden_state[0] for t in texts]


def stock_means(folder: Path, texts: list[list[int]]) -> NDArray[np.float32]:
    """Their means, which is what the usual manifest asks for."""
    return np.stack([rows.mean(0).numpy() for rows in stock_rows(folder, texts)])


def distances(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float64]:
    """1 − cosine, row by row."""
    a, b = one.astype(np.float64), other.astype(np.float64)
    cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    result: NDArray[np.float64] = 1 - cosine
    return result
