"""What every engine of the comparison is: one method, texts in, rows out."""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

Rows = NDArray[np.float32]


class Setting(Struct, frozen=True):
    """Where an engine finds the model, what was exported of it, and room of its own."""

    model: Path
    exports: Path
    scratch: Path
    cores: int

    def encoded(self) -> str:
        """For a command line."""
        return msgspec.json.encode(self, enc_hook=str).decode()

    @classmethod
    def decoded(cls, text: str) -> Self:
        """What `encoded` made."""
        return msgspec.json.decode(text, type=cls, dec_hook=lambda kind, value: kind(value))


class Engine:
    """Built in a process of its own; the constructor loads, and says by raising why it cannot."""

    def embed(self, texts: Sequence[str]) -> Rows:
        """Float32 `[n, dim]` of unit length, in the order of the texts; tokenises them, too."""
        raise NotImplementedError
