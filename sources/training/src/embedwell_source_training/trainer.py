"""What the transformers Trainer notes of its own checkpoints."""

import re
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from embedwell_source_training.whole import Signature

MAX_STATE = 50_000_000  # bytes; it has a line for every step that was logged
REMEMBERED = 10_000
_NAME = re.compile(r"checkpoint-[0-9]{1,12}$")


class _State(Struct):
    best_model_checkpoint: str | None = None


class States:
    """Reads each version of a trainer_state.json once; called in threads."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[Signature, str | None]] = {}

    def best_first(self, newest_first: Sequence[Path]) -> list[Path]:
        """The checkpoints, the one ahead that the newest readable state calls the best."""
        for place in newest_first:
            try:
                name = self._best(place / "trainer_state.json")
            except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                continue  # there is none, or it is being written
            return sorted(newest_first, key=lambda p: p.name != name)
        return [*newest_first]

    def _best(self, path: Path) -> str | None:
        signature = Signature.of(path.lstat())
        if (known := self._known.get(path)) is not None and known[0] == signature:
            return known[1]
        if not path.is_file() or path.is_symlink():
            raise FileNotFoundError(path)
        with path.open("rb") as file:
            state = msgspec.json.decode(file.read(MAX_STATE), type=_State)
        found = _NAME.search(state.best_model_checkpoint or "")  # the rest of its path may be
        name = found[0] if found else None  # another machine's
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        self._known[path] = (signature, name)
        return name
