"""Failures that may pass by themselves, and trying again."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from embedwell import SourceError

T = TypeVar("T")

PAUSES = (1.0, 4.0)  # seconds before the second and the third attempt


class Transient(SourceError):
    """A dropped connection or a server's own fault: worth another attempt."""


async def retrying(attempt: Callable[[], Awaitable[T]], pauses: Sequence[float]) -> T:
    """Once more after each pause; raises SourceError when the last attempt failed too."""
    for pause in pauses:
        try:
            return await attempt()
        except Transient:
            await asyncio.sleep(pause)
    try:
        return await attempt()
    except Transient as error:  # as a plain one, or those further out would begin again
        raise SourceError(error.message) from None
