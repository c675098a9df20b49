"""Attention over sequences that lie end to end in one row.

One function, registered with transformers under a name without a mask function, so that no mask
is ever built; which tokens belong together arrives with each call as runs of equal lengths.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from embedwell.engine import far, long, products, short
from embedwell.engine.packing import Run
from embedwell.engine.products import Places

NAME = "embedwell_packed"  # no "sdpa", "flash" or slash: transformers matches names by substring
ARGUMENT = "embedwell_row"
MIN_BLOCK = 256  # queries that a sliding window is computed for at a time


class Unpackable(Exception):
    """The model asks for something that attention over a packed row does not do."""


class Kind(NamedTuple):
    """What the places of a row depend on besides its texts.

    `shared` are key and value heads; `close` whether it pays that texts of similar lengths go
    together; `causal` whether a token of those sees only the ones before it.
    """

    heads: int
    shared: int
    causal: bool
    close: bool


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

    def attend(self, shape: "_Shape", query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """`[T, heads, width]` from the same; Unpackable for attention to another sequence."""
        if query.ndim != 3 or query.shape[0] != key.shape[0]:
            raise Unpackable("it attends to another sequence")
        if not shape.limited(self.runs[-1].length):
            return shape.whole(self.places(shape.kind(query, key)), query, key, value)
        return torch.cat(list(self._limited(shape, query, key, value)))

    def _limited(self, shape: "_Shape", *row: Tensor) -> Iterator[Tensor]:
        for run in self.runs:
            piece = shape.attend(*(far.rectangle(part, run) for part in row))
            yield piece.transpose(1, 2).flatten(0, 1)
        yield row[2].new_zeros(self._tail, row[0].shape[1], row[2].shape[2])


class Given:
    """A row of which only the places are known: a program is being made that runs for any."""

    def __init__(self, places: Places) -> None:
        self._places = places

    def attend(self, shape: "_Shape", query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Unpackable for what depends on the texts' lengths."""
        if shape.limited(None):
            raise Unpackable("its attention looks at a text's length")
        return shape.whole(self._places, query, key, value)


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
    shape = _Shape(causal, sliding_window, scaling, softcap)
    row = (part.squeeze(0).transpose(0, 1) for part in (query, key, value))
    return packed.attend(shape, *row).unsqueeze(0), None


class _Shape:
    """What every run of one layer has in common."""

    def __init__(
        self, causal: bool, window: int | None, scale: float | None, softcap: float | None
    ) -> None:
        self.causal, self.window, self.scale, self.softcap = causal, window, scale, softcap

    def limited(self, longest: int | None) -> bool:
        """Whether some tokens of a text this long, None for any, are too far away, or scores are
        capped.
        """
        return self.softcap is not None or self._narrow(longest)

    def kind(self, query: Tensor, key: Tensor) -> Kind:
        close = query.dtype is torch.bfloat16
        return Kind(query.shape[1], key.shape[1], self.causal and close, close)

    def whole(self, places: Places, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Of texts in which every token sees all others, or all before it."""
        scale = float(query.shape[2]) ** -0.5 if self.scale is None else self.scale
        return products.program()(query, key, value, (scale, self.causal), places)

    def _narrow(self, length: int | None) -> bool:
        return self.window is not None and (length is None or length > self.window)

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """`[n, heads, length, width]` each."""
        length = query.shape[2]
        if not self._narrow(length) and self.softcap is None:
            return self._stock(query, key, value, None, self.causal)
        return torch.cat(list(self._blocks(query, key, value, length)), dim=2)

    def _blocks(self, query: Tensor, key: Tensor, value: Tensor, length: int) -> Iterator[Tensor]:
        reach = min(self.window or length, length) - 1
        size = max(reach, MIN_BLOCK)
        for start in range(0, length, size):
            stop = min(start + size, length)
            first = max(0, start - reach)
            last = stop if self.causal else min(length, stop + reach)
            seen = self._seen(range(start, stop), range(first, last), reach)
            arguments = (query[:, :, start:stop], key[:, :, first:last], value[:, :, first:last])
            compute = self._stock if self.softcap is None else self._capped
            yield compute(*arguments, seen)

    def _seen(self, rows: range, columns: range, reach: int) -> Tensor:
        back = torch.arange(rows.start, rows.stop)[:, None] - torch.arange(
            columns.start, columns.stop
        )
        return (back <= reach) & (back >= (0 if self.causal else -reach))

    def _stock(
        self, query: Tensor, key: Tensor, value: Tensor, seen: Tensor | None, causal: bool = False
    ) -> Tensor:
        return scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=seen,
            is_causal=causal,
            scale=self.scale,
            enable_gqa=query.shape[1] != key.shape[1],
        )

    def _capped(self, query: Tensor, key: Tensor, value: Tensor, seen: Tensor) -> Tensor:
        assert self.softcap is not None
        repeats = query.shape[1] // key.shape[1]
        key, value = (part.repeat_interleave(repeats, 1) for part in (key, value))
        scale = query.shape[-1] ** -0.5 if self.scale is None else self.scale
        scores = torch.tanh(query @ key.transpose(2, 3) * scale / self.softcap) * self.softcap
        return scores.masked_fill(~seen, float("-inf")).softmax(-1) @ value
