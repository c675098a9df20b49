"""Why models leave: a cause to count by, and words for the log."""

from msgspec import Struct

from embedwell.interfaces.events import Cause


class Reason(Struct, frozen=True):
    """`text` says it to people, and may name other models; `cause` is one of a few."""

    cause: Cause
    text: str


RETIRED = Reason("replaced", "it was deleted or replaced")
CLEARED = Reason("cleared", "the cache was cleared")
SHORT = Reason("memory", "memory is short")
OTHERS = Reason("others", "other programs need the memory")
LET_GO = Reason("strategy", "the strategy let it go")


def room_for(tag: str) -> Reason:
    """Another model takes its place."""
    return Reason("room", f"room for {tag}")


def unused(seconds: float) -> Reason:
    """`keep_alive` is over."""
    return Reason("keep_alive", f"not used for {seconds:g} seconds")
