"""Where the server listens: an address and a port, or a socket's file."""

import errno
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from embedwell.config.schema import Server
from embedwell.errors import ConfigurationError

BACKLOG = 1024  # connections that wait to be accepted
FORBIDDEN_MODE = 0o117  # leaves 0660: the owner and the group


@contextmanager
def listening(server: Server) -> Iterator[socket.socket]:
    """A listening socket, closed at the end; raises ConfigurationError where it cannot be had."""
    if server.unix_socket:
        with _unix(Path(server.unix_socket)) as listener:
            yield listener
    else:
        with _tcp(server.host, server.port) as listener:
            yield listener


def _tcp(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except (OSError, ValueError) as error:  # a label too long is a UnicodeError
        why = getattr(error, "strerror", None) or str(error)
        if getattr(error, "errno", None) == errno.EADDRINUSE:
            why = "another program listens there: choose another with --port"
        raise ConfigurationError([f"server: cannot listen on {host}:{port}: {why}"]) from error


@contextmanager
def _unix(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        try:
            _clear(path)
            _bind(listener, path)
            own = path.stat().st_ino
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            raise _wrong(path, getattr(error, "strerror", None) or str(error)) from error
        try:
            yield listener
        finally:
            with suppress(OSError):
                if path.lstat().st_ino == own:
                    path.unlink()


def _clear(path: Path) -> None:
    """Removes what a server left that was killed."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise _wrong(path, "there is a file that is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except TimeoutError:
            pass  # it is there, and busy
    raise _wrong(path, "another program listens there")


def _bind(listener: socket.socket, path: Path) -> None:
    before = os.umask(FORBIDDEN_MODE)
    try:
        listener.bind(str(path))
    finally:
        os.umask(before)
    listener.listen(BACKLOG)


def _wrong(path: Path, why: str) -> ConfigurationError:
    return ConfigurationError([f"server.unix_socket: {path}: {why}"])
