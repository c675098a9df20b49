"""Attention over sequences that lie end to end in one row.

One function, registered with transformers under a name without a mask function, so that no mask
is ever built; which tokens belong together arrives with each call as runs of equal lengths.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from embedwell.engine import short
from embedwell.engine.packing import Run

NAME = "embedwell_packed"  # no "sdpa", "flash" or slash: transformers matches names by substring
ARGUMENT = "embedwell_row"
MIN_BLOCK = 256  # queries that a sliding window is computed for at a time


class Unpackable(Exception):
    """The model asks for something that attention over a packed row does not do."""


class Row:
    """Where the texts of one packed row lie, shortest first; one for all layers of a pass.

    `tail` tokens after them belong to none, and what comes out for them means nothing.
    """

    def __init__(self, runs: Sequence[Run], tail: int = 0) -> None:
        self.runs, self.tail = tuple(runs), tail
        self.near = tuple(run for run in self.runs if run.length <= short.LONGEST)
        self._layouts: dict[tuple[int, int], short.Layout] = {}

    def layout(self, heads: int, shared: int) -> short.Layout:
        """Of the `near` runs, made once for these numbers of query, and of key and value heads."""
        key = heads, shared
        if key not in self._layouts:
            tail = self.tail if len(self.near) == len(self.runs) else 0
            self._layouts[key] = short.Layout(self.near, heads, shared, tail)
        return self._layouts[key]


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
    packed: Row | None = others.get(ARGUMENT)
    if packed is None or attention_mask is not None or query.shape[0] != 1:
        raise Unpackable("it does not hand the packed row's boundaries to its attention")
    if others.get("position_bias") is not None or others.get("s_aux") is not None:
        raise Unpackable("its attention adds a bias of its own")
    if query.shape[2] != key.shape[2]:
        raise Unpackable("it attends to another sequence")
    causal = bool(getattr(module, "is_causal", False) if is_causal is None else is_causal)
    shape = _Shape(causal, sliding_window, scaling, softcap)
    row = [part[0].transpose(0, 1) for part in (query, key, value)]
    plain = query.dtype is torch.bfloat16 and shape.plain(packed.runs[-1].length)
    near = packed.near if plain else ()
    flat = [_together(packed, scaling, *row)] if near else []
    for run in packed.runs[len(near) :]:
        piece = shape.attend(*(_rectangle(part, run) for part in row))
        flat.append(piece.transpose(1, 2).flatten(0, 1))
    missing = row[0].shape[0] - sum(map(len, flat))
    if missing:
        flat.append(row[0][-missing:, :, : row[2].shape[2]])
    return (flat[0] if len(flat) == 1 else torch.cat(flat)).unsqueeze(0), None


def _together(
    packed: Row, scaling: float | None, query: Tensor, key: Tensor, value: Tensor
) -> Tensor:
    """Of the row's near texts, which come first, `[tokens, heads, width]`."""
    layout = packed.layout(query.shape[1], key.shape[1])
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    return short.attend(layout, scale, *(part[: layout.tokens] for part in (query, key, value)))


def _rectangle(part: Tensor, run: Run) -> Tensor:
    tokens = part[run.start : run.start + run.texts * run.length]
    return tokens.reshape(run.texts, run.length, *tokens.shape[1:]).transpose(1, 2)


class _Shape:
    """What every run of one layer has in common."""

    def __init__(
        self, causal: bool, window: int | None, scale: float | None, softcap: float | None
    ) -> None:
        self.causal, self.window, self.scale, self.softcap = causal, window, scale, softcap

    def plain(self, longest: int) -> bool:
        """Whether every token of a text sees all the others, and their scores stay as they are."""
        return not self.causal and not self._narrow(longest) and self.softcap is None

    def _narrow(self, length: int) -> bool:
        return self.window is not None and length > self.window

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
