"""Registers the source `package`."""

from collections.abc import Sequence
from typing import Any

from embedwell import SourceSpec, hookimpl
from embedwell_source_package.source import Config, PackageSource


@hookimpl
def register_sources() -> Sequence[SourceSpec[Any]]:
    """Models inside installed Python packages."""
    return [
        SourceSpec(
            name="package",
            summary="models inside installed Python packages",
            priority=150,
            config=Config,
            build=PackageSource,
        )
    ]
