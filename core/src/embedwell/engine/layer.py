"""How one layer attends: which way, how far, and what is done to its scores."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from msgspec import Struct
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from embedwell.engine import products
from embedwell.engine.products import Places

MIN_BLOCK = 256  # queries that a sliding window is computed for at a time


class Kind(NamedTuple):
    """What the places of a row depend on besides its texts.

    `shared` are heads of keys and values. In a causal layer a token sees only those before it,
    which matters where texts of similar lengths go `close` together: in bfloat16, where it pays.
    """

    heads: int
    shared: int
    causal: bool
    close: bool


class Layer(Struct, frozen=True):
    """How it attends, whatever texts it gets.

    A token sees less than `window` tokens to each side, only back where `causal`. `scale` None is
    one through the root of the width. `softcap` bounds scores, None where nothing does.
    """

    causal: bool
    window: int | None
    scale: float | None
    softcap: float | None

    def limited(self, longest: int | None) -> bool:
        """Whether a text this long, None for any, needs the window, or scores are capped."""
        return self.softcap is not None or self._narrow(longest)

    def kind(self, query: Tensor, key: Tensor) -> Kind:
        """What its places in a row depend on."""
        close = query.dtype is torch.bfloat16
        # Where texts stay as they lie, they do so whichever way their tokens look.
        return Kind(query.shape[1], key.shape[1], self.causal and close, close)

    def whole(self, places: Places, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Of texts in which every token sees all others, or all before it."""
        seen = self._factor(query), self.causal
        return products.program()(query, key, value, seen, places)

    def _factor(self, query: Tensor) -> float:
        return float(query.shape[-1]) ** -0.5 if self.scale is None else self.scale

    def _narrow(self, length: int | None) -> bool:
        return self.window is not None and (length is None or length > self.window)

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Within the window, or with capped scores; `[n, heads, length, width]` each."""
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
        scores = query @ key.transpose(2, 3) * self._factor(query)
        scores = torch.tanh(scores / self.softcap) * self.softcap
        return scores.masked_fill(~seen, float("-inf")).softmax(-1) @ value
