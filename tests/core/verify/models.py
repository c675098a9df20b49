"""A little model with all that a server, and sentence-transformers, need of it."""

import json
from pathlib import Path

import torch

from embedwell.engine.transformer import model_class
from embedwell.testing import make_model_folder
from tests.core.engine import small_models as small


def small_model(folder: Path, far: float = 0) -> None:
    """A BERT of random weights whose tokeniser knows w0 … w199, all embedded `far` from zero.

    bfloat16 has no digits left for what makes such words differ; layer norm brings it out.
    """
    make_model_folder(folder, hidden=small.HIDDEN)
    kind = {"model_max_length": 64, "tokenizer_class": "PreTrainedTokenizerFast"}
    names = {"cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]"}
    (folder / "tokenizer_config.json").write_text(json.dumps(kind | names))
    small.build(folder, "bert", vocab_size=205, max_position_embeddings=64)
    model = model_class("bert").from_pretrained(folder)
    with torch.no_grad():
        model.get_parameter("embeddings.word_embeddings.weight")[5:] += far
    model.save_pretrained(folder)
