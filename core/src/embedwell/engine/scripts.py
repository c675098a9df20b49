"""Functions as TorchScript: torch runs them without Python and its lock."""

import logging
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

log = logging.getLogger(__name__)


@cache
def translated(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The function itself where torch does not translate it (no longer for Python 3.14); logged."""
    script: Any = torch.jit.script
    try:
        program: Callable[..., Tensor] = script(function)
    except Exception as error:
        log.info("%s runs in Python (%s)", function.__name__, type(error).__name__)
        return function
    return program
