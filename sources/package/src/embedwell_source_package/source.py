"""The source: tags that the configuration maps to installed distributions."""

import logging
import threading
from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta, Struct

from embedwell import BaseServices, BlockingSource, EmbedwellError, ModelRef, ReadOnly, Snapshot
from embedwell_source_package.package import find

log = logging.getLogger("embedwell.source.package")

FRESH_FOR = 3_600.0  # an installed package does not change under a running server

Tag = Annotated[str, Meta(min_length=1, max_length=200)]
Distribution = Annotated[str, Meta(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,98}[A-Za-z0-9])?$")]


class Config(Struct, frozen=True, forbid_unknown_fields=True):
    """`models` maps a tag to the name of the distribution that carries the model."""

    models: dict[Tag, Distribution] = {}


class PackageSource(BlockingSource):
    """Serves them where they lie; nothing of a package is imported."""

    def __init__(self, config: Config, services: BaseServices) -> None:
        super().__init__(config, services)
        self._models = dict(config.models)
        self._found: dict[str, Snapshot] = {}
        self._told: set[str] = set()
        self._lock = threading.Lock()

    def find(self, ref: ModelRef) -> Snapshot | None:
        """Raises SourceError where the distribution is missing or has not one model."""
        if ref.name not in self._models:
            return None
        snapshot = self._snapshot(ref.name)
        return snapshot if ref.revision in (None, snapshot.key.revision) else None

    def list_models(self) -> Sequence[Snapshot]:
        """Those that are installed; why others are not is logged once."""
        found = []
        for tag in self._models:
            try:
                found.append(self._snapshot(tag))
            except EmbedwellError as error:
                self._tell(error.message)
        return found

    async def delete(self, ref: ModelRef) -> None:
        """Raises ReadOnly."""
        raise ReadOnly(
            f"Models of this source are read-only: {ref}; take it out of [sources.package.models]"
        )

    def _tell(self, problem: str) -> None:
        with self._lock:
            if problem in self._told:
                return
            self._told.add(problem)
        log.warning("%s", problem)

    def _snapshot(self, tag: str) -> Snapshot:
        with self._lock:
            if tag not in self._found:
                self._found[tag] = find(tag, self._models[tag], FRESH_FOR)
            return self._found[tag]
