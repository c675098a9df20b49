"""One load, from its estimate to a loaded encoder or a reason why not."""

import asyncio
import logging
from typing import Protocol

from msgspec import Struct

from embedwell.errors import EmbedwellError, ModelError, OutOfMemory
from embedwell.interfaces.caches import Estimate, Need
from embedwell.interfaces.encoders import DeviceOutOfMemory, Encoder
from embedwell.interfaces.models import Snapshot

log = logging.getLogger("embedwell.cache")

BACK_OFF = (1.0, 60.0)  # seconds after the first failure, and at most


class Overdue(Exception):
    """A load was given up after so many seconds; once `ended` is done it holds nothing any more."""

    def __init__(self, seconds: float, ended: "asyncio.Future[None]") -> None:
        super().__init__(f"not loaded within {seconds:g} seconds")
        self.seconds = seconds
        self.ended = ended


class Loaded(Struct, frozen=True):
    """What a load brought, and the seconds that it took, without any wait for a thread."""

    encoder: Encoder
    seconds: float


class Loader(Protocol):
    """Does the blocking work in threads of its own."""

    async def estimate(self, snapshot: Snapshot) -> Estimate: ...

    async def load(self, snapshot: Snapshot) -> Loaded:
        """Raises Overdue, or why it failed."""

    async def unload(self, encoder: Encoder) -> None: ...


def back_off(failures: int) -> float:
    """Seconds until a model that failed so often is tried again."""
    first, longest = BACK_OFF
    return min(longest, first * 2.0 ** min(failures - 1, 10))


def explain(error: BaseException, tag: str) -> EmbedwellError:
    """What the clients that wait are told; whatever was not meant for them goes to the log."""
    match error:
        case EmbedwellError():
            return error
        case DeviceOutOfMemory() | MemoryError():
            return OutOfMemory(f"Model loading failed: out of memory ({tag})", retry_after=5)
    log.error("loading %s failed", tag, exc_info=error)
    return ModelError(f"Model loading failed: {tag}")


def too_large(tag: str, need: Need, budget: int, ever: int) -> OutOfMemory:
    """The refusal of a model that does not fit with everything else gone."""
    wanted = (need.weights + need.peak) / 1e9
    waiting_helps = need.weights + need.peak <= ever
    return OutOfMemory(
        f"Model loading failed: {tag} needs {wanted:.2f} GB, models may use {budget / 1e9:.2f} GB",
        retry_after=30 if waiting_helps else None,
    )
