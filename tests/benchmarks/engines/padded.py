"""What the graph engines share: texts to sorted, padded batches, hidden states to vectors."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from tests.benchmarks.engines.engine import Rows

BATCH = 16
Ids = NDArray[np.int64]


class Batch(Struct, frozen=True):
    """`places` are the texts' own numbers; the arrays are `[n, longest]`."""

    places: Sequence[int]
    ids: Ids
    mask: Ids

    def inputs(self) -> dict[str, Ids]:
        """What the exported graph takes."""
        return {
            "input_ids": self.ids,
            "attention_mask": self.mask,
            "token_type_ids": np.zeros_like(self.ids),
        }


class Batches:
    """The model's own tokeniser, cut where the model cuts."""

    def __init__(self, model: Path) -> None:
        from tokenizers import Tokenizer

        limits = msgspec.json.decode((model / "sentence_bert_config.json").read_bytes())
        self._tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
        self._tokenizer.enable_truncation(limits["max_seq_length"])
        self._tokenizer.no_padding()

    def of(self, texts: Sequence[str]) -> Iterator[Batch]:
        """The longest first, as an allocator likes it."""
        found = [item.ids for item in self._tokenizer.encode_batch_fast(list(texts))]
        order = sorted(range(len(found)), key=lambda place: -len(found[place]))
        for start in range(0, len(order), BATCH):
            places = order[start : start + BATCH]
            yield _pad(places, [found[place] for place in places])


def _pad(places: Sequence[int], found: Sequence[Sequence[int]]) -> Batch:
    shape = len(found), max(map(len, found))
    ids, mask = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    for row, values in enumerate(found):
        ids[row, : len(values)] = values
        mask[row, : len(values)] = 1
    return Batch(places, ids, mask)


def pool(hidden: Rows, mask: Ids) -> Rows:
    """Mean over each row's own tokens, of unit length."""
    weights = mask.astype(np.float32)
    means = np.einsum("bth,bt->bh", hidden, weights) / weights.sum(1, keepdims=True)
    rows: Rows = (means / np.linalg.norm(means, axis=1, keepdims=True)).astype(np.float32)
    return rows


def gather(count: int, parts: Sequence[tuple[Sequence[int], Rows]]) -> Rows:
    """The batches' rows in the order of the texts."""
    rows = np.empty((count, parts[0][1].shape[1]), np.float32)
    for places, values in parts:
        rows[list(places)] = values
    return rows
