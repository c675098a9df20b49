"""A model's packed forward pass as a TorchScript program, whatever its architecture.

What transformers computes is recorded once and runs without Python from then on: Python takes
longer for a short text than the processor does, and keeps its lock from everybody else meanwhile.
"""

import threading
import warnings
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeAlias, cast

import torch
from torch import Tensor
from transformers import PreTrainedModel

from embedwell.engine import attention
from embedwell.engine.attention import Row, Unpackable
from embedwell.engine.products import Places

Program: TypeAlias = Callable[..., Tensor]
SAME = 1e-3  # of the largest number; the operations are the same, and so should be what comes out
_jit: Any = torch.jit
_ScriptList: Any = getattr(torch._C, "ScriptList", tuple)  # without it passes wait for the lock
_one_at_a_time = threading.Lock()  # which warnings are errors is said in a global variable


class Inputs(NamedTuple):
    """Of a packed pass: ids and positions `[1, T]`, and where the texts lie."""

    ids: Tensor
    positions: Tensor
    row: Row


class Plain:
    """The pass as transformers has it."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model

    def __call__(self, inputs: Inputs) -> Tensor:
        """`[T, hidden]`."""
        return _rows(self._model, inputs.ids, inputs.positions, inputs.row)


class Recorded:
    """The same as a program, for any texts; in any number of threads at a time.

    Nothing about the model may change any more; its embeddings forget their padding ids, which are
    for training. Call under inference mode. Raises Unpackable, or whatever torch raises, where the
    model looks at numbers to decide what to compute.
    """

    def __init__(self, model: PreTrainedModel, example: Inputs, other: Inputs) -> None:
        """`other` texts, of other lengths, are what the program is tried on."""
        wanted = Plain(model)(other)
        kinds = other.row.kinds
        if len(kinds) != 1:
            raise Unpackable(
                "its layers differ in heads or direction, see only a window, or cap their scores"
            )
        (self._kind,) = kinds
        for module in model.modules():
            if isinstance(module, torch.nn.Embedding):
                module.padding_idx = None  # checking it would look at numbers
        self._program, self._weights = _record(_Pass(model), self._tensors(example))
        self._held = _held(self._weights)
        self(other)  # torch watches a first run, and improves the program at the second
        found = self(other)
        if not float((found - wanted).abs().max()) <= SAME * float(wanted.abs().max()):
            raise Unpackable("as a program it computes something else")

    def __call__(self, inputs: Inputs) -> Tensor:
        """`[T, hidden]`."""
        tensors = self._tensors(inputs)
        held = _held(tensors)
        rows: Tensor = self._program(*tensors, *self._weights)
        del held
        return rows

    def _tensors(self, inputs: Inputs) -> tuple[Tensor, ...]:
        return inputs.ids, inputs.positions, *inputs.row.places(self._kind)


class _Pass(torch.nn.Module):
    """With nothing but tensors for arguments."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor, positions: Tensor, *places: Tensor) -> Tensor:
        return _rows(self.model, ids, positions, attention.Given(cast("Places", places)))


def _held(tensors: Iterable[Tensor]) -> object:
    """Holds them without Python, while it lives.

    A program that has used a tensor which only Python holds besides takes Python's lock to say so:
    a hundred times a pass, and each time it waits behind the event loop.
    """
    return _ScriptList([*tensors])


def _rows(
    model: PreTrainedModel, ids: Tensor, positions: Tensor, row: Row | attention.Given
) -> Tensor:
    output = model(input_ids=ids, position_ids=positions, **{attention.ARGUMENT: row})
    rows: Tensor = output.last_hidden_state[0]
    return rows


def _record(module: torch.nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Program, list[Tensor]]:
    """The program, and the weights that come after its inputs.

    What `torch.jit.trace` makes torch keeps until the process ends, some 20 MB; what is made of a
    graph is freed with its last user.
    """
    with _one_at_a_time, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", _jit.TracerWarning)
        graph, _ = _jit._get_trace_graph(module, inputs)
        if ("error", None, _jit.TracerWarning, None, 0) not in warnings.filters:
            raise Unpackable("another thread changed meanwhile which warnings are errors")
    weights = module.state_dict(keep_vars=True).values()
    once = {id(weight): weight for weight in weights}  # as the graph has them: shared ones once
    program: Program = torch._C._create_function_from_graph("packed_pass", graph)
    return program, list(once.values())
