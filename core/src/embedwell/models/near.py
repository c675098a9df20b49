"""What could have been meant by a tag that no source has: among the models at hand, no network."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from difflib import get_close_matches
from itertools import islice

from embedwell.errors import ModelNotFound, SourceError
from embedwell.interfaces.models import ModelRef

LISTING = "GET /models lists those at hand"
MOST = 3  # suggestions
COMPARED = 300  # names, letter by letter: 10 us each, on the loop
SIMILAR = 0.8
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
        return ModelNotFound(str(ref), hint(ref, await self._at_hand()))

    async def failed(self, ref: ModelRef, error: SourceError) -> SourceError:
        """The error to raise where a source could not say whether it has the tag."""
        known = await self._at_hand()
        meant = "" if ref.name in known else suggestion(ref, known)
        if not meant:
            return error
        message = f"Did you mean {meant}? {error.message}"
        return SourceError(message, param=error.param, retry_after=error.retry_after)

    async def _at_hand(self) -> Known:
        if self._clock() >= self._until:
            self._until = self._clock() + FRESH
            with suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    self._known = await self._listing()
        return self._known


def hint(ref: ModelRef, known: Known) -> str:
    """What follows "Model not found: …"."""
    there = known.get(ref.name, ())
    if ref.revision and (ref.source in there if ref.source else there):
        return f"; it has no such revision: GET /models/{ref.name} lists those at hand"
    meant = suggestion(ref, known)
    return f"; did you mean {meant}? {LISTING}" if meant else f"; {LISTING}"


def suggestion(ref: ModelRef, known: Known) -> str:
    """What may have been meant, for a question: "one or another", "" where none is near."""
    near = [name for name in sorted(known) if _alike(ref, name)][:MOST] or _misspelt(ref, known)
    return " or ".join(near)


def _alike(ref: ModelRef, name: str) -> bool:
    """The same but for its case, its owner, or the source that was asked alone."""
    if name == ref.name:
        return ref.source is not None
    asked, there = ref.name.casefold(), name.casefold()
    return there == asked or there.endswith(f"/{asked}")


def _misspelt(ref: ModelRef, known: Known) -> list[str]:
    """Those that are a few letters away; of a name without an owner, whoever theirs is."""
    asked = ref.name.casefold()
    spelt: dict[str, str] = {}
    for name in islice(sorted(known.keys() - {ref.name}), COMPARED):
        there = name.casefold()
        spelt.setdefault(there if "/" in asked else there.rpartition("/")[2], name)
    return [spelt[found] for found in get_close_matches(asked, spelt, MOST, SIMILAR)]
