"""Attention's products over a row of texts, run by torch without Python.

Other threads wait for Python's lock, and whoever gives it up between two operations waits for it
again: a forward pass has hundreds of them. TorchScript takes tuples, none that are named, and
constants as defaults.
"""

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from embedwell.engine.far import far
from embedwell.engine.near import near
from embedwell.engine.scripts import translated

Places: TypeAlias = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]


def program() -> Callable[..., Tensor]:
    """`attended`, without Python where torch translates it."""
    return translated(attended)


def attended(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    seen: tuple[float, bool],
    places: tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor],
) -> Tensor:
    """`[T, heads, width]` from the same; key and value with their own heads.

    `seen` is what scores are multiplied by, and whether a token sees only those before it. `places`
    are a Near and a Far, whose tokens come after. Rows that belong to no text mean nothing.
    """
    found: list[Tensor] = []
    if len(places[0]):
        found.append(near((query, key, value), places[:5], seen[0]))
    if len(places[5]):
        found.append(far((query, key, value), places[5:], seen))
    missing = len(query) - sum([len(part) for part in found])
    if missing:
        found.append(query.new_zeros([missing, query.shape[1], value.shape[2]]))
    return found[0] if len(found) == 1 else torch.cat(found)
