"""What could have been meant by a tag that no source has: among the models at hand, no network."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress

from embedwell.errors import ModelNotFound
from embedwell.interfaces.models import ModelRef

LISTING = "GET /models lists those at hand"
MOST = 3  # suggestions
FRESH = 10.0  # seconds until another miss lists anew
PATIENCE = 1.0  # seconds that a miss waits for that

Known = Mapping[str, Collection[str]]  # the sources that have it, by name


class Near:
    """Turns a miss into its error; `listing` gives what is at hand."""

    def __init__(self, listing: Callable[[], Awaitable[Known]], clock: Callable[[], float]) -> None:
        self._listing = listing
        self._clock = clock
        self._known: Known = {}
        self._until = float("-inf")

    def forget(self) -> None:
        """The models at hand are others now."""
        self._until = float("-inf")

    async def missing(self, ref: ModelRef) -> ModelNotFound:
        """The error to raise; however many tags are missed, the models are listed now and then."""
        if self._clock() >= self._until:
            self._until = self._clock() + FRESH
            with suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    self._known = await self._listing()
        return ModelNotFound(str(ref), hint(ref, self._known))


def hint(ref: ModelRef, known: Known) -> str:
    """What follows "Model not found: …"."""
    there = known.get(ref.name, ())
    if ref.revision and (ref.source in there if ref.source else there):
        return f"; it has no such revision: GET /models/{ref.name} lists those at hand"
    near = [name for name in sorted(known) if _alike(ref, name)][:MOST]
    return f"; did you mean {' or '.join(near)}? {LISTING}" if near else f"; {LISTING}"


def _alike(ref: ModelRef, name: str) -> bool:
    """The same but for its case, its owner, or the source that was asked alone."""
    if name == ref.name:
        return ref.source is not None
    asked, there = ref.name.casefold(), name.casefold()
    return there == asked or there.endswith(f"/{asked}")
