"""Which models a tag means."""

from collections.abc import Iterable

from embedwell.interfaces.models import ModelKey, ModelRef


def named(key: ModelKey, refs: Iterable[ModelRef]) -> bool:
    """Whether one of these is a name of this model; no revision, or no source, means any."""
    return any(
        ref.name == key.name
        and ref.revision in (None, key.revision)
        and ref.source in (None, key.source)
        for ref in refs
    )
