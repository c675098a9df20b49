"""Packed attention against plain attention of each sequence alone."""

from itertools import accumulate
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from embedwell.engine import attention
from embedwell.engine.attention import Unpackable, packed_attention
from embedwell.engine.packing import Group

LENGTHS = (1, 4, 4, 4, 9, 600)


def runs(lengths: tuple[int, ...] = LENGTHS) -> dict[str, Any]:
    group = Group(np.zeros(sum(lengths), np.int64), lengths, (0,) * len(lengths))
    return {attention.ARGUMENT: attention.Row(group.runs)}


def parts(heads: int, key_heads: int) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    shapes = [(1, sum(LENGTHS), count, 8) for count in (heads, key_heads, key_heads)]
    query, key, value = (torch.randn(shape).transpose(1, 2) for shape in shapes)
    return query, key, value


def plain(
    query: Tensor, key: Tensor, value: Tensor, causal: bool, window: int | None, cap: float | None
) -> Tensor:
    repeats = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(repeats, 1), value.repeat_interleave(repeats, 1)
    pieces = []
    for start, length in zip(accumulate(LENGTHS, initial=0), LENGTHS, strict=False):
        own = slice(start, start + length)
        scores = query[:, :, own] @ key[:, :, own].transpose(2, 3) * 0.3
        if cap is not None:
            scores = torch.tanh(scores / cap) * cap
        back = torch.arange(length)[:, None] - torch.arange(length)
        hidden = (back < 0) if causal else torch.zeros_like(back, dtype=torch.bool)
        if window is not None:
            hidden = hidden | (back.abs() >= window)
        pieces.append(scores.masked_fill(hidden, -1e9).softmax(-1) @ value[:, :, own])
    return torch.cat(pieces, 2).transpose(1, 2)


@pytest.mark.parametrize("key_heads", [4, 2])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("window", [None, 1, 5, 300, 600])
@pytest.mark.parametrize("cap", [None, 2.0])
def test_each_sequence_sees_itself_alone(
    key_heads: int, causal: bool, window: int | None, cap: float | None
) -> None:
    module = torch.nn.Module()
    module.is_causal = causal  # type: ignore[assignment]
    query, key, value = parts(4, key_heads)
    out, nothing = packed_attention(
        module, query, key, value, None, scaling=0.3, sliding_window=window, softcap=cap, **runs()
    )
    assert nothing is None
    expected = plain(query, key, value, causal, window, cap)
    assert out.shape == expected.shape
    torch.testing.assert_close(out, expected, atol=2e-6, rtol=1e-5)


def test_the_argument_wins_over_the_module() -> None:
    module = torch.nn.Module()
    module.is_causal = True  # type: ignore[assignment]
    query, key, value = parts(2, 2)
    out, _ = packed_attention(
        module, query, key, value, None, scaling=0.3, is_causal=False, **runs()
    )
    torch.testing.assert_close(out, plain(query, key, value, False, None, None))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({}, "boundaries"),
        ({**runs(), "position_bias": torch.zeros(1)}, "bias of its own"),
        ({**runs(), "s_aux": torch.zeros(1)}, "bias of its own"),
        ({**runs(), "attention_mask": torch.zeros(1)}, "boundaries"),
    ],
)
def test_what_it_cannot_do_is_refused(arguments: dict[str, Any], reason: str) -> None:
    query, key, value = parts(2, 2)
    arguments.setdefault("attention_mask", None)
    with pytest.raises(Unpackable, match=reason):
        packed_attention(torch.nn.Module(), query, key, value, **arguments)


def test_another_sequence_is_refused() -> None:
    query, key, value = parts(2, 2)
    with pytest.raises(Unpackable, match="another sequence"):
        packed_attention(torch.nn.Module(), query, key[:, :, 1:], value, None, **runs())
