"""Real tokenizers made on the spot, and manifests to go with them."""

from pathlib import Path
from typing import Any

import numpy as np
from msgspec.structs import replace
from tokenizers import Tokenizer as Backend
from tokenizers import models, pre_tokenizers, processors, trainers

from embedwell.interfaces.embedding import EmbeddingCall, Tokens
from embedwell.interfaces.models import Manifest, ModelRef, Pooling
from embedwell.tokenization.tokenizer import Tokenizer

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *(f"w{i}" for i in range(20))]
CLS, SEP = 2, 3

MANIFEST = Manifest(
    folder="",
    config={},
    model_type="bert",
    dimensions=8,
    max_tokens=8,
    vocabulary=len(WORDS),
    positions=8,
    hidden=8,
    intermediate=16,
    layers=1,
    heads=2,
    modules=(Pooling(("mean",)),),
    prompts={},
    default_prompt=None,
    lowercase=False,
    truncation_side="right",
    empty_token=None,
    prompt_closers=(SEP,),
    tensors=1,
    bytes=4,
    created=0,
)


def words(special: bool = True) -> Backend:
    """One token a word, `w7` being 11, in [CLS] … [SEP]; stored truncation and padding too."""
    vocabulary = {word: i for i, word in enumerate(WORDS)}
    backend = Backend(models.WordLevel(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if special:
        backend.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", CLS), ("[SEP]", SEP)]
        )
    backend.enable_truncation(4)
    backend.enable_padding(length=6)
    return backend


def byte_pairs() -> Backend:
    """Byte-level BPE without special tokens, trained on a little text."""
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=300, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    backend.train_from_iterator(["the cat sat on the mat", "the dog sat on the log"], trainer)
    return backend


def tokenizer(backend: Backend | None = None, **changes: Any) -> Tokenizer:
    return Tokenizer(backend or words(), replace(MANIFEST, **changes))


def call(*texts: Any, **options: Any) -> EmbeddingCall:
    return EmbeddingCall(ref=ModelRef("m"), texts=texts, timeout=1, **options)


def ids(tokens: Tokens) -> list[list[int]]:
    """Back to lists, the lengths checked on the way."""
    lists = [np.frombuffer(raw, "<i4").tolist() for raw in tokens.ids]
    assert tuple(map(len, lists)) == tokens.lengths
    return lists


def save(folder: Path, backend: Backend) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    backend.save(str(folder / "tokenizer.json"))
    return folder
