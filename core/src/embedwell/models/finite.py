"""Weights that are no numbers: NaN and infinity, looked for in small pieces."""

from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING

from embedwell.errors import InvalidModel
from embedwell.models import safetensors
from embedwell.models.members import shown

if TYPE_CHECKING:
    import numpy as np

    Bytes = np.ndarray[tuple[int], np.dtype[np.uint8]]

PIECE = 4 << 20  # bytes
# Per float type: what its bits are read as, and those of the exponent, all set in NaN and infinity.
_EXPONENTS = {
    "F16": ("<u2", 0x7C00),
    "BF16": ("<u2", 0x7F80),
    "F32": ("<u4", 0x7F80_0000),
    "F64": ("<u8", 0x7FF0_0000_0000_0000),
}


def check(root: Path, name: str) -> None:
    """Read every float tensor of a safetensors file; raises InvalidModel for the first such one.

    Takes as much time as reading the file, and a few pieces' memory; nothing is mapped.
    """
    import numpy as np

    piece = np.empty(PIECE, np.uint8)
    spans = safetensors.spans(root, name)
    try:
        with (root / name).open("rb", buffering=0) as file:
            for key, span in spans.items():
                if span.dtype in _EXPONENTS and not _finite(file, span, piece):
                    raise InvalidModel(
                        f"{name}: tensor {shown(key)} holds values that are not numbers "
                        "(NaN or infinity)"
                    )
    except OSError as error:
        raise InvalidModel(f"{name} cannot be read: {error.strerror}") from error


def _finite(file: FileIO, span: safetensors.Span, piece: "Bytes") -> bool:
    kind, exponent = _EXPONENTS[span.dtype]
    file.seek(span.begin)
    left = span.end - span.begin
    while left:
        part = piece[: min(left, PIECE)]
        _fill(file, part)
        bits = part.view(kind)
        bits &= bits.dtype.type(exponent)
        if bits.max() == exponent:
            return False
        left -= len(part)
    return True


def _fill(file: FileIO, part: "Bytes") -> None:
    view = part.data
    while view:
        count = file.readinto(view)
        if not count:
            raise InvalidModel("A weight file changed while it was checked")
        view = view[count:]
