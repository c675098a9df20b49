"""Registers the source `training`."""

from collections.abc import Sequence
from typing import Any

from embedwell import SourceSpec, hookimpl
from embedwell_source_training.source import Config, TrainingSource


@hookimpl
def register_sources() -> Sequence[SourceSpec[Any]]:
    """Models that training runs leave in a directory."""
    return [
        SourceSpec(
            name="training",
            summary="the outputs of training runs",
            priority=300,
            config=Config,
            build=TrainingSource,
        )
    ]
