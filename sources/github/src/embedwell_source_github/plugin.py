"""Registers the source `github`."""

from collections.abc import Sequence
from typing import Any

from embedwell import SourceSpec, hookimpl
from embedwell_source_github.config import Config
from embedwell_source_github.source import GitHubSource


@hookimpl
def register_sources() -> Sequence[SourceSpec[Any]]:
    """Models in GitHub repositories."""
    return [
        SourceSpec(
            name="github",
            summary="models in GitHub repositories, fetched by POST /models/github",
            priority=200,
            config=Config,
            build=GitHubSource,
        )
    ]
