"""A loaded model: batches in, float32 rows out."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from embedwell.engine import packing
from embedwell.engine.body import Body
from embedwell.engine.heads import Heads
from embedwell.engine.memory import is_out_of_memory
from embedwell.interfaces.encoders import Batch, DeviceOutOfMemory, EncoderFacts

if TYPE_CHECKING:
    from embedwell.interfaces.encoders import Rows


class TorchEncoder:
    """Runs a body and its heads; `prepare` is called first, in the thread that computes."""

    def __init__(
        self, body: Body, heads: Heads, facts: EncoderFacts, prepare: Callable[[], None]
    ) -> None:
        self._loaded: tuple[Body, Heads] | None = (body, heads)
        self._facts = facts
        self._prepare = prepare

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
        self._prepare()
        try:
            return self._encode(batch, body, heads)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        raise DeviceOutOfMemory(f"a batch of {sum(batch.lengths)} tokens does not fit in memory")

    def close(self) -> None:
        """Drop every tensor; a batch that is running keeps them until it ends."""
        self._loaded = None

    @torch.inference_mode()
    def _encode(self, batch: Batch, body: Body, heads: Heads) -> "Rows":
        ids = packing.check(batch, self._facts.vocabulary, body.longest)
        indices = packing.order(batch)
        ends = self._ends([batch.lengths[i] for i in indices])
        parts = [heads(body.blocks(g)) for g in packing.groups(batch, ids, indices, ends)]
        return _in_order(torch.cat(parts), indices)

    def _ends(self, lengths: list[int]) -> list[int]:
        if self._facts.single:
            return list(range(1, len(lengths) + 1))
        return packing.cuts(lengths, self._facts.batch_tokens, self._facts.packed)


def _in_order(rows: Tensor, indices: list[int]) -> "Rows":
    """Rows back in the batch's order: row k is of the sequence `indices[k]`."""
    ordered = np.empty(tuple(rows.shape), dtype=np.float32)
    ordered[indices] = rows.numpy()
    return ordered
