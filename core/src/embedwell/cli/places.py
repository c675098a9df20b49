"""Whether a server could have its places in the file system; nothing is made there."""

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from embedwell.config.schema import Server

LONGEST = 107  # bytes of a socket's path, as it is given


def faults(server: Server) -> Iterator[str]:
    """Why it could not."""
    folder = Path(server.data_dir)
    if why := _why(_folder, folder):
        yield f"server.data_dir: {folder}: {why}"
    socket = Path(server.unix_socket)
    if server.unix_socket and (why := _why(_socket, socket)):
        yield f"server.unix_socket: {socket}: {why}"


def _why(check: Callable[[Path], str], path: Path) -> str:
    try:
        return check(path)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        return getattr(error, "strerror", None) or str(error)


def _folder(path: Path) -> str:
    """It is made where it is missing, with all above it."""
    whole = path.absolute()
    return _unfit(next(place for place in (whole, *whole.parents) if _is_there(place)))


def _socket(path: Path) -> str:
    if len(os.fsencode(path)) > LONGEST:
        return f"the path is too long, {LONGEST} bytes are the most"
    if _is_there(path) and not stat.S_ISSOCK(path.lstat().st_mode):
        return "there is a file that is no socket"
    return _unfit(path.parent)


def _unfit(folder: Path) -> str:
    folder.stat()
    usable = folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)
    return "" if usable else f"{folder} is no folder that this user can write to"


def _is_there(path: Path) -> bool:
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    return True
