"""Names of runs and the folders behind them; links are never followed, reading is bounded."""

import os
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

MAX_ENTRIES = 10_000  # of one folder, and of a listing in all
FINAL = ("final", "final_model", "model")
MODULE = re.compile(r"[0-9]{1,2}_(Transformer|Pooling|Dense|Normalize)")  # sentence-transformers'
_SEGMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_CHECKPOINT = re.compile(r"checkpoint-([0-9]{1,12})")
_RESERVED = ("upload", "github", "huggingface")


def runs(root: Path) -> Iterator[tuple[str, Path]]:
    """Tag and folder of every run; OSError only where the directory itself cannot be read."""
    left = MAX_ENTRIES
    for owner in subfolders(root):
        inside = _below(root / owner)
        left -= 1 + len(inside)
        if left < 0:
            return
        if _is_run(root / owner, inside):
            if owner not in _RESERVED:
                yield owner, root / owner
        else:
            yield from ((f"{owner}/{run}", root / owner / run) for run in inside if _whole(run))


def find(root: Path, tag: str) -> Path | None:
    """The folder of a run, whose name must be exactly this one; OSError as of `runs`."""
    owner, slash, run = tag.partition("/")
    if owner not in subfolders(root):
        return None
    folder = root / owner
    inside = _below(folder)
    if _is_run(folder, inside):
        return folder if not slash and owner not in _RESERVED else None
    return folder / run if run in inside and _whole(run) else None


def checkpoint(run: Path, name: str) -> Path | None:
    """The folder of `checkpoint-N`, if the run has it."""
    return run / name if _CHECKPOINT.fullmatch(name) and name in subfolders(run) else None


def checkpoints(run: Path) -> list[Path]:
    """The newest first, by their numbers."""
    found = {name: m for name in subfolders(run) if (m := _CHECKPOINT.fullmatch(name))}
    return [run / name for name in sorted(found, key=lambda n: int(found[n][1]), reverse=True)]


def finals(run: Path) -> list[Path]:
    """Where the final model is meant to be: the folder itself, or a customary one in it."""
    there = subfolders(run)
    return [p for p in (run, *(run / name for name in FINAL if name in there)) if _has_model(p)]


def subfolders(folder: Path) -> list[str]:
    """Real folders whose names can be in a tag; of names equal but for case only the first."""
    with os.scandir(folder) as entries:
        names = sorted(
            entry.name
            for entry in islice(entries, MAX_ENTRIES)
            if _SEGMENT.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False)
        )
    return sorted({name.casefold(): name for name in reversed(names)}.values())


def _below(folder: Path) -> list[str]:
    """As `subfolders`; one that cannot be read, or has gone, has none."""
    try:
        return subfolders(folder)
    except OSError:
        return []


def _is_run(folder: Path, inside: list[str]) -> bool:
    if any(_CHECKPOINT.fullmatch(name) for name in inside):
        return True
    return any(map(_has_model, (folder, *(folder / name for name in FINAL if name in inside))))


def _has_model(folder: Path) -> bool:
    """Whether the folder is meant to hold one, be it not complete yet."""
    names = ("config.json", "modules.json", "config_sentence_transformers.json")
    return any(os.path.lexists(folder / name) for name in names)


def _whole(name: str) -> bool:
    """Whether a folder of this name can be a run, not a part of the one that it is in."""
    return not (name in FINAL or _CHECKPOINT.fullmatch(name) or MODULE.fullmatch(name))
