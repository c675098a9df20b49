"""Which models a tag means."""

from collections.abc import Iterable

from embedwell.interfaces.models import ModelKey, ModelRef


def named(key: ModelKey, refs: Iterable[ModelRef]) -> bool:
    """Whether one of these is a name of this model."""
    return any(ref.names(key) for ref in refs)
