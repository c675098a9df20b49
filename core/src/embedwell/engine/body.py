"""A loaded transformer and its two ways to run: packed with our attention, padded with its own."""

import logging
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from embedwell.engine import attention, packing, pooling
from embedwell.engine.attention import Unpackable
from embedwell.engine.memory import is_out_of_memory
from embedwell.engine.packing import Group
from embedwell.engine.pooling import TokenRows
from embedwell.engine.program import Inputs, Plain, Recorded
from embedwell.engine.sizes import Sizes

log = logging.getLogger(__name__)

POSITION_TABLES = ("position_embeddings", "wpe", "embed_positions")  # transformers' names for it


class Body:
    """Token rows from ids; in any number of threads at a time, under inference mode.

    `longest` is how many tokens a text may have by the position table, None where positions are
    computed. `packed` says which way `rows` runs; `use` changes it.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model
        self.packed = False
        self._sizes = Sizes()
        self._plain = Plain(model)
        self._pass: Plain | Recorded = self._plain
        self._stock = str(model.config._attn_implementation)
        self._padding, self.longest = _position_table(model)
        self._growing: list[Any] = [m for m in model.modules() if hasattr(m, "max_seq_len_cached")]
        pad = getattr(model.config, "pad_token_id", None)
        self._fill = next((i for i in (self._padding, pad) if isinstance(i, int) and i >= 0), 0)

    @property
    def hidden(self) -> int:
        """The length of a token's row."""
        probe = Group(np.zeros(1, np.int64), (1,), (0,))
        return self.rows(probe).rows.shape[1]

    @property
    def vocabulary(self) -> int:
        """Rows of the embedding table."""
        table: Any = self.model.get_input_embeddings()
        return int(table.weight.shape[0])

    @property
    def bytes(self) -> int:
        """What its weights and buffers take in memory."""
        tensors = [t for t in (*self.model.parameters(), *self.model.buffers()) if not t.is_mkldnn]
        packed = sum(getattr(module, "packed_bytes", 0) for module in self.model.modules())
        return sum({t.data_ptr(): t.nbytes for t in tensors}.values()) + packed

    def use(self, packed: bool) -> None:
        """Set the model to our attention or to its own; Unpackable where it takes only its own."""
        if packed == self.packed:
            return
        if packed:
            attention.register()
        try:
            self.model.set_attn_implementation(attention.NAME if packed else self._stock)
        except Exception as error:
            raise Unpackable(f"it takes no other attention ({type(error).__name__})") from None
        self.packed = packed

    def record(self, example: Group, other: Group) -> None:
        """Run packed rows without Python from now on, if the model can be recorded.

        Nothing about the model may change after it. `other` is what it is tried on.
        """
        try:
            self._pass = Recorded(self.model, self._inputs(example), self._inputs(other))
        except Exception as error:
            if is_out_of_memory(error):
                raise
            kind = type(self.model).__name__
            log.info("%s runs in Python (%s: %.200s)", kind, type(error).__name__, error)

    def rows(self, group: Group) -> TokenRows:
        """Of the group's tokens, in its order."""
        if self.packed:
            return TokenRows(self._pass(self._inputs(group)), pooling.blocks(group, group.lengths))
        rows = self._rectangle(group)
        texts, width, hidden = rows.shape
        return TokenRows(rows.reshape(-1, hidden), pooling.blocks(group, [width] * texts))

    def _inputs(self, group: Group) -> Inputs:
        tail = self._sizes.tail(len(group.ids))
        places = packing.positions(group, self._padding)
        return Inputs(
            _extended(group.ids, tail, self._fill),
            _extended(places, tail, self._padding or 0),
            attention.Row(group.runs, tail),
        )

    def _rectangle(self, group: Group) -> Tensor:
        """`[n, width, hidden]`; columns beyond a text's length mean nothing."""
        self._forget_lengths()
        ids, mask = packing.rectangle(group, self._fill, self.longest)
        output = self.model(input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask))
        rows: Tensor = output.last_hidden_state
        return rows

    def _forget_lengths(self) -> None:
        """Dynamic positions stay scaled for the longest text so far until a short one comes."""
        for module in self._growing:
            if hasattr(module, "original_inv_freq"):
                module.register_buffer("inv_freq", module.original_inv_freq, persistent=False)
                module.max_seq_len_cached = module.original_max_seq_len


def _extended(numbers: packing.Ids, more: int, value: int) -> Tensor:
    return torch.from_numpy(np.concatenate((numbers, np.full(more, value)))[None])


def _position_table(model: PreTrainedModel) -> tuple[int | None, int | None]:
    """The padding id that positions are counted from, if any, and the longest text."""
    for module in model.modules():
        for name in POSITION_TABLES:
            table = getattr(module, name, None)
            if isinstance(table, nn.Embedding):
                return _places(table, getattr(module, "padding_idx", None))
    return None, None


def _places(table: nn.Embedding, padding: object) -> tuple[int | None, int | None]:
    offset = getattr(table, "offset", None)
    if isinstance(offset, int):  # the table itself leaves its first rows out
        return None, table.num_embeddings - offset
    if isinstance(padding, int):
        return padding, table.num_embeddings - padding - 1
    return None, table.num_embeddings
