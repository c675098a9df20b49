"""A loaded model: batches in, float32 rows out."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from embedwell.engine import packing
from embedwell.engine.body import Body
from embedwell.engine.heads import Heads
from embedwell.engine.memory import is_out_of_memory
from embedwell.engine.packing import Ids
from embedwell.interfaces.encoders import Batch, DeviceOutOfMemory, EncoderFacts

if TYPE_CHECKING:
    from embedwell.interfaces.encoders import Rows


class Lanes(Protocol):
    """Where the parts of a batch run."""

    def count(self, tokens: int, texts: int) -> int:
        """In how many parts a batch runs best."""

    def run(self, parts: "Sequence[Callable[[], Tensor]]", tokens: int) -> list[Tensor]:
        """What each part returns, in their order; `tokens` are in all of them."""


class TorchEncoder:
    """Runs a body and its heads, in as many parts side by side as `lanes` says."""

    def __init__(self, body: Body, heads: Heads, facts: EncoderFacts, lanes: Lanes) -> None:
        self._loaded: tuple[Body, Heads] | None = (body, heads)
        self._facts = facts
        self._lanes = lanes

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
            return rows(batch, body, heads, self._facts, self._lanes)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        raise DeviceOutOfMemory(f"a batch of {sum(batch.lengths)} tokens does not fit in memory")

    def close(self) -> None:
        """Drop every tensor; a batch that is running keeps them until it ends."""
        self._loaded = None


def rows(batch: Batch, body: Body, heads: Heads, facts: EncoderFacts, lanes: Lanes) -> "Rows":
    """As `encode`, but out of memory is whatever torch raises."""
    ids = packing.check(batch, facts.vocabulary, body.longest)
    indices = packing.order(batch)
    count = lanes.count(len(ids), len(indices))
    dealt = [indices[first::count] for first in range(count)]  # alike in lengths, each ascending
    part = _Part(batch, ids, body, heads, facts)
    found = lanes.run([partial(part.rows, own) for own in dealt], len(ids))
    ordered = np.empty((len(indices), found[0].shape[1]), dtype=np.float32)
    for own, some in zip(dealt, found, strict=True):
        ordered[own] = some.numpy()
    return ordered


class _Part(NamedTuple):
    """Some sequences of a batch, in any thread."""

    batch: Batch
    ids: Ids
    body: Body
    heads: Heads
    facts: EncoderFacts

    @torch.inference_mode()
    def rows(self, own: list[int]) -> Tensor:
        """Their rows in this order, shortest first."""
        ends = _ends([self.batch.lengths[i] for i in own], self.facts)
        groups = packing.groups(self.batch, self.ids, own, ends)
        return torch.cat([self.heads(self.body.blocks(group)) for group in groups])


def _ends(lengths: list[int], facts: EncoderFacts) -> list[int]:
    if facts.verdict.single:
        return list(range(1, len(lengths) + 1))
    return packing.cuts(lengths, facts.batch_tokens, facts.verdict.packed)
