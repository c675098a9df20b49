"""A loaded model: batches in, float32 rows out."""

import gc
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch

from embedwell.engine import packing
from embedwell.engine.body import Body
from embedwell.engine.heads import Heads
from embedwell.engine.memory import is_out_of_memory
from embedwell.interfaces.encoders import Batch, DeviceOutOfMemory, EncoderFacts

if TYPE_CHECKING:
    from embedwell.interfaces.encoders import Rows


Taken: TypeAlias = Callable[[Batch], AbstractContextManager[None]]


class TorchEncoder:
    """Runs a body and its heads, each batch with what it has `taken` of the device."""

    def __init__(self, body: Body, heads: Heads, facts: EncoderFacts, taken: Taken) -> None:
        self._loaded: tuple[Body, Heads] | None = (body, heads)
        self._facts = facts
        self._taken = taken

    @property
    def facts(self) -> EncoderFacts:
        return self._facts

    def encode(self, batch: Batch) -> "Rows":
        """C-contiguous float32 `[len(batch.lengths), dimensions]`, before a final Normalize.

        A batch that costs more than `facts.batch_tokens` runs in several passes. Raises
        DeviceOutOfMemory, ValueError for a batch that breaks the contract, whatever torch raises.
        """
        if self._loaded is None:
            raise RuntimeError("the encoder is closed")
        body, heads = self._loaded
        try:
            with self._taken(batch):
                return rows(batch, body, heads, self._facts)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        raise DeviceOutOfMemory(f"a batch of {sum(batch.lengths)} tokens does not fit in memory")

    def close(self) -> None:
        """Drop every tensor; a batch that is running keeps them until it ends."""
        self._loaded = None
        gc.collect()  # a model's modules refer to each other


@torch.inference_mode()
def rows(batch: Batch, body: Body, heads: Heads, facts: EncoderFacts) -> "Rows":
    """As `encode`, but out of memory is whatever torch raises."""
    ids = packing.check(batch, facts.vocabulary, body.longest)
    indices = packing.order(batch)
    ends = _ends([batch.lengths[i] for i in indices], facts)
    groups = packing.groups(batch, ids, indices, ends)
    found = torch.cat([heads(body.rows(group)) for group in groups])
    ordered = np.empty(found.shape, dtype=np.float32)
    ordered[indices] = found.numpy()
    return ordered


def _ends(lengths: list[int], facts: EncoderFacts) -> list[int]:
    if facts.verdict.single:
        return list(range(1, len(lengths) + 1))
    return packing.cuts(lengths, facts.batch_tokens, facts.verdict.packed)
