"""The control groups (Linux containers, services) this process is in, both versions."""

from pathlib import Path


def folders(controller: str, own: Path, root: Path) -> list[Path]:
    """The existing folders whose limits apply, innermost first; empty outside Linux."""
    try:
        lines = own.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return []
    found: list[Path] = []
    for line in lines:
        fields = line.split(":", 2)
        if len(fields) != 3:
            continue
        _, controllers, path = fields
        if controllers and controller not in controllers.split(","):
            continue
        top = root / controllers if controllers else root
        found += _upwards(top if top.is_dir() else root / controller, path)
    return found


def _upwards(top: Path, path: str) -> list[Path]:
    """A container often sees its own group's path only from outside: then only `top` exists."""
    inner = top / path.strip("/")
    chain = [inner, *inner.parents] if ".." not in inner.parts else [top]
    return [folder for folder in chain if folder.is_relative_to(top) and folder.is_dir()]


def number(file: Path) -> int | None:
    """The file's number; None where it cannot be read or says "max"."""
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None
