"""Accepts connections, and goes on listening when there are no descriptors for them.

uvloop gives up listening then, and says nothing; asyncio floods the log.
"""

import asyncio
import errno
import socket
from collections.abc import Callable

AT_ONCE = 16  # before anything else has its turn
PAUSE_SECONDS = 0.1  # without descriptors
EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Acceptor:
    """Hands every new connection to `take`; `starved` is told why none can be had. Loop only.

    `wait` says for how many seconds nobody can be taken; clients are with the kernel meanwhile.
    """

    def __init__(
        self,
        listener: socket.socket,
        take: Callable[[socket.socket], object],
        wait: Callable[[], float],
        starved: Callable[[str], object],
    ) -> None:
        self._listener, self._take, self._wait, self._starved = listener, take, wait, starved
        self._loop = asyncio.get_running_loop()
        self._pause: asyncio.TimerHandle | None = None
        listener.setblocking(False)
        self._listen()

    def close(self) -> None:
        """Closes the listener, too."""
        self._loop.remove_reader(self._listener)
        if self._pause is not None:
            self._pause.cancel()
        self._listener.close()

    def _listen(self) -> None:
        self._loop.add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        for _ in range(AT_ONCE):
            if (seconds := self._wait()) > 0:
                self._rest(seconds)
                return
            try:
                client, _ = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in EXHAUSTED:
                    self._rest(PAUSE_SECONDS)
                    self._starved(error.strerror or str(error))
                    return
                continue  # that client has left again
            self._take(client)

    def _rest(self, seconds: float) -> None:
        self._loop.remove_reader(self._listener)
        self._pause = self._loop.call_later(seconds, self._listen)
