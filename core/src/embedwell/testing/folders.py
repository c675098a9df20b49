"""Small model folders made on the spot, without torch."""

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

WORDS = 200


def make_model_folder(
    path: Path,
    *,
    hidden: int = 8,
    max_tokens: int = 64,
    prompts: Mapping[str, str] | None = None,
    config: Mapping[str, Any] | None = None,
) -> Path:
    """A complete little BERT with zero weights: config, tokeniser, safetensors, mean pooling.

    The tokeniser knows `w0` … `w199` (ids 5 …) and splits at white space. Returns `path`.
    """
    path.mkdir(parents=True, exist_ok=True)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + [f"w{i}" for i in range(WORDS)]
    _write(path / "config.json", _config(hidden, max_tokens, len(vocabulary)) | dict(config or {}))
    _write(path / "tokenizer.json", _tokenizer(vocabulary))
    names = {"cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]"}
    _write(path / "tokenizer_config.json", {"model_max_length": max_tokens, **names})
    modules = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    rows = [
        {"idx": i, "name": str(i), "path": folder, "type": f"sentence_transformers.models.{kind}"}
        for i, (folder, kind) in enumerate(modules)
    ]
    _write(path / "modules.json", rows)
    pooling = {"word_embedding_dimension": hidden, "pooling_mode_mean_tokens": True}
    (path / "1_Pooling").mkdir(exist_ok=True)
    _write(path / "1_Pooling" / "config.json", pooling)
    _write(path / "config_sentence_transformers.json", {"prompts": dict(prompts or {})})
    _write_weights(path / "model.safetensors", len(vocabulary), hidden)
    return path


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value))


def _config(hidden: int, max_tokens: int, vocabulary: int) -> dict[str, Any]:
    return {
        "model_type": "bert",
        "vocab_size": vocabulary,
        "hidden_size": hidden,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 2 * hidden,
        "max_position_embeddings": max_tokens,
        "pad_token_id": 0,
    }


def _tokenizer(vocabulary: list[str]) -> dict[str, Any]:
    special = [
        {"id": i, "content": vocabulary[i], "single_word": False, "lstrip": False,
         "rstrip": False, "normalized": False, "special": True}
        for i in range(5)
    ]  # fmt: skip
    template = {
        "type": "TemplateProcessing",
        "single": [
            {"SpecialToken": {"id": "[CLS]", "type_id": 0}},
            {"Sequence": {"id": "A", "type_id": 0}},
            {"SpecialToken": {"id": "[SEP]", "type_id": 0}},
        ],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {
            "[CLS]": {"id": "[CLS]", "ids": [2], "tokens": ["[CLS]"]},
            "[SEP]": {"id": "[SEP]", "ids": [3], "tokens": ["[SEP]"]},
        },
    }
    model = {
        "type": "WordLevel",
        "vocab": {word: i for i, word in enumerate(vocabulary)},
        "unk_token": "[UNK]",
    }
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": special,
        "normalizer": None,
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": template,
        "decoder": None,
        "model": model,
    }


def _write_weights(path: Path, rows: int, columns: int) -> None:
    name = "embeddings.word_embeddings.weight"
    size = rows * columns * 4
    header = {name: {"dtype": "F32", "shape": [rows, columns], "data_offsets": [0, size]}}
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)
    path.write_bytes(struct.pack("<Q", len(encoded)) + encoded + bytes(size))
