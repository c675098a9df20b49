"""Attention over sequences that lie end to end in one row.

One function, registered with transformers under a name without a mask function, so that no mask
is ever built; which tokens belong together arrives with each call as runs of equal lengths.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface

from embedwell.engine import far, long, short
from embedwell.engine.layer import Kind, Layer
from embedwell.engine.packing import Run
from embedwell.engine.products import Places

NAME = "embedwell_packed"  # no "sdpa", "flash" or slash: transformers matches names by substring
ARGUMENT = "embedwell_row"


class Unpackable(Exception):
    """The model asks for something that attention over a packed row does not do."""


class Row:
    """Where the texts of one packed row lie, shortest first; one for all layers of a pass.

    `tail` tokens after them belong to none, and what comes out for them means nothing. `kinds` are
    those that were asked for.
    """

    def __init__(self, runs: Sequence[Run], tail: int = 0) -> None:
        self.runs, self._tail = tuple(runs), tail
        self._places: dict[Kind, Places] = {}

    @property
    def kinds(self) -> frozenset[Kind]:
        return frozenset(self._places)

    def places(self, kind: Kind) -> Places:
        """What `products.attended` takes, made once."""
        if kind not in self._places:
            self._places[kind] = self._made(kind)
        return self._places[kind]

    def _made(self, kind: Kind) -> Places:
        near = self._near() if kind.close and not kind.causal else []
        runs = self.runs[len(near) :]
        layout = short.Layout(near, kind.heads, kind.shared, 0 if runs else self._tail)
        others = long.laid_out(runs, kind.causal) if kind.close else long.as_they_lie(runs)
        return *layout.near, *others

    def _near(self) -> list[Run]:
        """Texts that are short, and enough, to be computed together."""
        near = [run for run in self.runs if run.length <= short.LONGEST]
        return near if sum(run.texts for run in near) >= short.FEWEST else []

    def attend(self, layer: Layer, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """`[T, heads, width]` from the same; Unpackable for attention to another sequence."""
        if query.ndim != 3 or query.shape[0] != key.shape[0]:
            raise Unpackable("it attends to another sequence")
        if not layer.limited(self.runs[-1].length):
            return layer.whole(self.places(layer.kind(query, key)), query, key, value)
        return torch.cat(list(self._limited(layer, query, key, value)))

    def _limited(self, layer: Layer, *row: Tensor) -> Iterator[Tensor]:
        for run in self.runs:
            piece = layer.attend(*(far.rectangle(part, run) for part in row))
            yield piece.transpose(1, 2).flatten(0, 1)
        yield row[2].new_zeros(self._tail, row[0].shape[1], row[2].shape[2])


class Given:
    """A row of which only the places are known: a program is being made that runs for any."""

    def __init__(self, places: Places) -> None:
        self._places = places

    def attend(self, layer: Layer, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Unpackable for what depends on the texts' lengths."""
        if layer.limited(None):
            raise Unpackable("its attention looks at a text's length")
        return layer.whole(self._places, query, key, value)


def register() -> None:
    """Make the function known to transformers; doing it again changes nothing."""
    AttentionInterface.register(NAME, packed_attention)


def packed_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    sliding_window: int | None = None,
    is_causal: bool | None = None,
    softcap: float | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """`[1, T, heads, width]` from query, key and value `[1, heads, T, width]`.

    A window reaches `sliding_window - 1` tokens to each side, or back only where it is causal.
    Raises Unpackable for additive biases, sinks, masks and attention to another sequence.
    """
    packed: Row | Given | None = others.get(ARGUMENT)
    if packed is None or attention_mask is not None:
        raise Unpackable("it does not hand the packed row's boundaries to its attention")
    if others.get("position_bias") is not None or others.get("s_aux") is not None:
        raise Unpackable("its attention adds a bias of its own")
    causal = bool(getattr(module, "is_causal", False) if is_causal is None else is_causal)
    layer = Layer(causal, sliding_window, scaling, softcap)
    row = (part.squeeze(0).transpose(0, 1) for part in (query, key, value))
    return packed.attend(layer, *row).unsqueeze(0), None
