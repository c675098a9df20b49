"""Registers the strategy `vram_aware`."""

from collections.abc import Sequence
from typing import Any

from embedwell import CacheSpec, hookimpl
from embedwell_cache_vram.strategy import Config, VramAware


@hookimpl
def register_caches() -> Sequence[CacheSpec[Any]]:
    """As many models as memory holds, chosen by what it costs to bring them back."""
    return [
        CacheSpec(
            name="vram_aware",
            summary="as many models as fit; the cheapest to bring back leave first",
            config=Config,
            build=VramAware,
        )
    ]
