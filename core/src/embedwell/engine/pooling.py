"""From token rows to one row a text, run by torch without Python.

A batch has as many blocks as its texts have lengths, and a few operations for each: between any
two of them, Python would wait for its lock behind the event loop, which took as long as the pass.
"""

from collections.abc import Callable, Iterable
from itertools import groupby
from typing import NamedTuple

import torch
from torch import Tensor

from embedwell.engine.packing import Group, table
from embedwell.engine.scripts import translated

TINY = 1e-9  # the divisor where a prompt leaves no token to pool


class TokenRows(NamedTuple):
    """Rows of tokens, `[N, hidden]`, some of which may mean nothing.

    Blocks `[n, 5]` say which are whose, texts of one length each: first row, texts, rows for each
    of them, how many of those are its tokens, and how many of these pooling leaves out.
    """

    rows: Tensor
    blocks: Tensor

    def end_to_end(self) -> Tensor:
        """`[T, hidden]`: those that mean something."""
        own: list[list[int]] = self.blocks.tolist()
        return torch.cat([_tokens(self.rows, block).flatten(0, 1) for block in own])


def blocks(group: Group, widths: Iterable[int]) -> Tensor:
    """Blocks as TokenRows has them; `widths` are the rows of each text, in the group's order."""
    found, start = [], 0
    texts = zip(widths, group.lengths, group.skips, strict=True)
    for (width, length, skip), same in groupby(texts):
        count = len(list(same))
        found.append((start, count, width, length, skip))
        start += count * width
    return torch.from_numpy(table(found, 5))


def program() -> Callable[[Tensor, Tensor, list[str], bool], Tensor]:
    """`pooled`, without Python where torch translates it."""
    return translated(pooled)


def pooled(rows: Tensor, blocks: Tensor, modes: list[str], whole: bool) -> Tensor:
    """Float32 `[n, len(modes) * hidden]`, in the order of the blocks; modes as Pool names them.

    `whole` where nothing is to be left out.
    """
    found: list[Tensor] = []
    own: list[list[int]] = blocks.tolist()
    for block in own:
        tokens = _tokens(rows, block).float()
        skip = 0 if whole else block[4]
        parts = [_pool(tokens, skip, mode) for mode in modes]
        found.append(parts[0] if len(parts) == 1 else torch.cat(parts, -1))
    return torch.cat(found)


def _tokens(rows: Tensor, block: list[int]) -> Tensor:
    """`[texts, length, hidden]`."""
    start, texts, width, length = block[0], block[1], block[2], block[3]
    own = rows[start : start + texts * width]
    return own.view(texts, width, rows.shape[1])[:, :length]


def _pool(tokens: Tensor, skip: int, mode: str, tiny: float = TINY) -> Tensor:
    length = tokens.shape[1]
    kept = tokens[:, skip:]
    if mode == "cls":
        return tokens[:, skip if skip < length else 0]
    if mode == "lasttoken":
        return tokens[:, -1] if skip < length else torch.zeros_like(tokens[:, 0])
    if mode == "max":
        least = tokens.new_full([len(tokens), tokens.shape[2]], float("-inf"))
        return kept.amax(1) if skip < length else least
    if mode == "weightedmean":
        places = torch.arange(1, length + 1, dtype=tokens.dtype)[skip:]
        return (kept * places[:, None]).sum(1) / max(float(places.sum()), tiny)
    assert mode in ["mean", "mean_sqrt_len_tokens"], "no such mode"
    count = max(float(kept.shape[1]), tiny)
    return kept.sum(1) / (count if mode == "mean" else count**0.5)
