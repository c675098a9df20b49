"""A source of the tests' own: folders that are models, and one that never arrives."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from embedwell import (
    BlockingSource,
    Fetch,
    ModelKey,
    ModelRef,
    Progress,
    Snapshot,
    SourceSpec,
    hookimpl,
)

FAR = "owner/far"  # its download never ends


class Nothing(Struct, frozen=True, forbid_unknown_fields=True):
    """No settings."""


async def _never(progress: Progress) -> Snapshot:
    await asyncio.Event().wait()
    raise AssertionError


class TinyModels:
    """A plugin of the test's own: every folder below `path` is a model."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @hookimpl
    def register_sources(self) -> Sequence[SourceSpec[Any]]:
        path = self.path

        class Folder(BlockingSource):
            def find(self, ref: ModelRef) -> Snapshot | Fetch | None:
                if ref.name == FAR:
                    return Fetch(ModelKey("tiny", FAR, "1"), _never)
                folder = path / ref.name
                return Snapshot.of_folder(folder, "tiny", ref.name) if folder.is_dir() else None

            def list_models(self) -> Sequence[Snapshot]:
                return [Snapshot.of_folder(p, "tiny", p.name) for p in sorted(path.iterdir())]

        spec = SourceSpec(name="tiny", summary="tests", priority=500, config=Nothing, build=Folder)
        return [spec]
