"""What sentence-transformers says of a snapshot, where it is installed."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from embedwell.interfaces.encoders import Rows

NAME = "sentence-transformers"
BATCH = 16  # texts between two signs of life; each runs alone


class Absent(Exception):
    """It cannot be asked; the message says why."""


def vectors(path: Path, texts: Sequence[str], step: Callable[[int], None]) -> "Rows":
    """Float32 rows of each text alone, with the model's default prompt; raises Absent.

    The manifest has refused models with modules of their own by now; nothing is downloaded.
    """
    import numpy as np

    try:
        parts = [*_parts(_model(path), texts, step)]
    except Absent:
        raise
    except Exception as error:
        raise Absent(f"it cannot run this model ({type(error).__name__})") from error
    rows: Rows = np.concatenate(parts).astype(np.float32)
    return rows


def _parts(model: Any, texts: Sequence[str], step: Callable[[int], None]) -> Iterator["Rows"]:
    for start in range(0, len(texts), BATCH):
        chosen = list(texts[start : start + BATCH])
        yield model.encode(chosen, batch_size=1, show_progress_bar=False)
        step(len(chosen))


def _model(path: Path) -> Any:
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError:
        raise Absent(f"it is not installed here: pip install {NAME}") from None

    return SentenceTransformer(
        str(path),
        device="cpu",
        local_files_only=True,
        trust_remote_code=False,
        model_kwargs={"dtype": "float32", "use_safetensors": True},
    )
