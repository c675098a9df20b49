"""Registers the source `huggingface`."""

from collections.abc import Sequence
from typing import Any

from embedwell import SourceSpec, hookimpl
from embedwell_source_huggingface.config import Config
from embedwell_source_huggingface.source import HubSource


@hookimpl
def register_sources() -> Sequence[SourceSpec[Any]]:
    """The Hugging Face Hub and its local cache."""
    return [
        SourceSpec(
            name="huggingface",
            summary="the Hugging Face Hub and its local cache",
            priority=100,
            config=Config,
            build=HubSource,
        )
    ]
