"""Registers the strategy `fixed_size`."""

from collections.abc import Sequence
from typing import Any

from embedwell import CacheSpec, hookimpl
from embedwell_cache_fixed.strategy import Config, FixedSize


@hookimpl
def register_caches() -> Sequence[CacheSpec[Any]]:
    """The default strategy."""
    return [
        CacheSpec(
            name="fixed_size",
            summary="a fixed number of models, least recently used first",
            config=Config,
            build=FixedSize,
        )
    ]
