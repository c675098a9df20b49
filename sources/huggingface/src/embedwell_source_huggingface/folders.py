"""Changes to the source's own cache folder; all of it blocks."""

import os
import secrets
import shutil
import time
from contextlib import suppress
from pathlib import Path

DAY = 86_400  # seconds after which nobody comes back to half a file


def repo_folder(repo: str) -> str:
    """The name of a repository's folder, as huggingface_hub has it."""
    return f"models--{repo.replace('/', '--')}"


def mark(folder: Path, commit: str) -> None:
    """Note that a commit is deleted, then take the names away that point to it."""
    marker = _marker(folder, commit)
    marker.parent.mkdir(exist_ok=True)
    marker.touch()
    _sync(marker.parent)
    _sync(folder)
    for ref in (folder / "refs").rglob("*"):
        if named(ref) == commit:
            ref.unlink(missing_ok=True)


def marked(folder: Path, commit: str) -> bool:
    """Whether a commit is deleted, though its files may still be there."""
    return _marker(folder, commit).exists()


def unmark(folder: Path, commit: str) -> None:
    """A deleted commit is wanted again."""
    _marker(folder, commit).unlink(missing_ok=True)


def erase(folder: Path, commit: str) -> bool:
    """Remove a marked commit's files, and blobs that it alone uses; False if not marked.

    Other blobs may be downloads of other programs, not linked yet, also where this was the last
    commit. The links go last, so that an erasure that was interrupted still knows its blobs.
    """
    if not marked(folder, commit):
        return False
    for blob in _blobs_of_none_but(folder / "snapshots" / commit):
        (folder / "blobs" / blob).unlink(missing_ok=True)
    shutil.rmtree(folder / "snapshots" / commit, ignore_errors=True)
    (folder / "trees" / f"{commit}.json").unlink(missing_ok=True)
    shutil.rmtree(folder / ".no_exist" / commit, ignore_errors=True)
    last = not any((folder / "snapshots").glob("*"))
    if last:
        _clear(folder, commit)
    unmark(folder, commit)
    if last:
        _prune(folder)
    return True


def _clear(folder: Path, commit: str) -> None:
    """What else a repository has whose commits are gone; what others began of late stays."""
    for ref in (folder / "refs").rglob("*"):
        if ref.is_file() and named(ref) in ("", commit):
            ref.unlink(missing_ok=True)
    for half in (folder / "blobs").glob("*.incomplete"):
        with suppress(FileNotFoundError):
            if time.time() - half.stat().st_mtime > DAY:
                half.unlink()


def _prune(folder: Path) -> None:
    """Remove the folders that are empty."""
    for path, _, _ in os.walk(folder, topdown=False):
        with suppress(OSError):
            Path(path).rmdir()


def _blobs_of_none_but(snapshot: Path) -> set[str]:
    others = (path for path in snapshot.parent.glob("*") if path != snapshot)
    return _blobs(snapshot).difference(*map(_blobs, others))


def _blobs(snapshot: Path) -> set[str]:
    return {link.resolve().name for link in snapshot.rglob("*") if link.is_symlink()}


def named(ref: Path) -> str:
    """What the file of a branch or tag says, "" where it says nothing."""
    try:
        with ref.open("rb") as file:
            return file.read(100).decode().strip()
    except (OSError, UnicodeDecodeError):
        return ""


def name(folder: Path, revision: str, commit: str) -> None:
    """Let a branch or tag name a commit."""
    ref = folder / "refs" / revision
    ref.parent.mkdir(parents=True, exist_ok=True)
    half = ref.with_name(f"{ref.name}.{secrets.token_hex(4)}.tmp")
    half.write_text(commit)
    half.replace(ref)


def _marker(folder: Path, commit: str) -> Path:
    return folder / ".deleted" / commit


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
