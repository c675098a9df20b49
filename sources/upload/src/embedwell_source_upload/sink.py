"""Many small pieces to few large writes."""

from collections.abc import Awaitable, Callable

SIZE = 1_048_576  # bytes: large enough for the hop to a thread not to matter


class Sink:
    """While a write is under way nobody reads the socket, and that pushes back on the client."""

    def __init__(self, write: Callable[[bytes], Awaitable[None]]) -> None:
        self._write = write
        self._held = bytearray()
        self.size = 0

    async def add(self, data: bytes) -> None:
        """Writes once enough has gathered."""
        self._held += data
        self.size += len(data)
        if len(self._held) >= SIZE:
            await self.flush()

    async def flush(self) -> None:
        """Write what is held, an empty file too."""
        held, self._held = bytes(self._held), bytearray()
        if held or not self.size:
            await self._write(held)
