"""Registers the source `upload`."""

from collections.abc import Sequence
from typing import Any

from embedwell import SourceSpec, hookimpl
from embedwell_source_upload.config import Config
from embedwell_source_upload.receive import SOURCE
from embedwell_source_upload.source import UploadSource


@hookimpl
def register_sources() -> Sequence[SourceSpec[Any]]:
    """Uploaded models."""
    return [
        SourceSpec(
            name=SOURCE,
            summary="models uploaded over HTTP",
            priority=400,
            config=Config,
            build=UploadSource,
        )
    ]
