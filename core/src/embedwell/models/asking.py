"""Asking sources one by one, each within its time, each isolated from the rest."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, TypeVar

from embedwell.config.schema import Sources
from embedwell.errors import EmbedwellError, SourceError
from embedwell.interfaces.models import BlockingSource, Fetch, ModelRef, Snapshot, Source

log = logging.getLogger("embedwell.models")

T = TypeVar("T")


class _BrokenSourceError(SourceError):
    """It raised what no source should; the cause is to be logged, once."""


class Answer(NamedTuple):
    """What a source of the chain had."""

    source: str
    found: Snapshot | Fetch


async def ask(
    chain: Sequence[tuple[str, Source]], ref: ModelRef, settings: Sources
) -> Answer | None:
    """The first source that has it; a source that fails ends the search, unless told to skip.

    A skipped failure is raised after all where no other source has the model: whether it exists
    is then unknown. Raises SourceError, or a source's own EmbedwellError.
    """
    failure: EmbedwellError | None = None
    for name, source in chain:
        try:
            found = await _resolve(name, source, ref, settings.resolve_timeout)
        except EmbedwellError as error:
            if settings.on_source_error == "stop":
                raise
            log.warning("source %s is skipped for %s: %s", name, ref, error.message)
            failure = failure or error
            continue
        if found is not None:
            return Answer(name, found)
    if failure is not None:
        raise failure
    return None


async def listing(name: str, source: Source, seconds: float) -> Sequence[Snapshot]:
    """A source's local models; () from one that fails, which is logged."""
    try:
        rows: Sequence[object] = await _bounded(name, "list its models", source.models, seconds)
        return [row for row in rows if isinstance(row, Snapshot)]
    except _BrokenSourceError as error:
        log.error("source %s is left out of the listing", name, exc_info=error.__cause__)
    except EmbedwellError as error:
        log.warning("source %s is left out of the listing: %s", name, error.message)
    except Exception:
        log.exception("source %s is left out of the listing", name)
    return ()


async def _resolve(
    name: str, source: Source, ref: ModelRef, seconds: float
) -> Snapshot | Fetch | None:
    try:
        found: object = await _bounded(name, f"resolve {ref}", lambda: source.resolve(ref), seconds)
    except _BrokenSourceError as error:
        log.error("source %s failed to resolve %s", name, ref, exc_info=error.__cause__)
        raise
    if found is None or isinstance(found, Snapshot | Fetch):
        return found
    log.error(
        "source %s cannot answer for %s: %s() gave %s; it must give a Snapshot, a Fetch or None",
        name,
        ref,
        _asked(source),
        type(found).__name__,
    )
    raise SourceError(f"Source {name} gave no usable answer for {ref}")


def _asked(source: Source) -> str:
    """The method that its author wrote."""
    blocking = isinstance(source, BlockingSource)
    return "find" if blocking and type(source).resolve is BlockingSource.resolve else "resolve"


async def _bounded(name: str, what: str, call: Callable[[], Awaitable[T]], seconds: float) -> T:
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            return await call()
    except EmbedwellError:
        raise
    except asyncio.CancelledError:
        if _cancelled_from_outside():
            raise
        log.warning("source %s cancelled itself in %s", name, what)
        raise SourceError(f"Source {name} failed to {what}") from None
    except BaseException as error:  # a SystemExit in a task would end the whole loop
        if limit.expired():
            raise SourceError(f"Source {name} took longer than {seconds:g} s to {what}") from None
        raise _BrokenSourceError(
            f"Source {name} failed to {what}; the server's log has the reason"
        ) from error


def _cancelled_from_outside() -> bool:
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0
