"""The three hooks. A plugin registers specs; the server builds objects from them, once per app.

A distribution becomes a plugin by an entry point in the group `embedwell`:

    [project.entry-points.embedwell]
    my-plugin = "my_plugin"
"""

from collections.abc import Sequence
from typing import Any

import pluggy

from embedwell.interfaces.caches import CacheSpec
from embedwell.interfaces.models import SourceSpec
from embedwell.interfaces.plugins import PluginSpec

hookspec = pluggy.HookspecMarker("embedwell")
hookimpl = pluggy.HookimplMarker("embedwell")


class Hooks:
    """Hook specifications: plain functions without arguments, called once per app."""

    @hookspec
    def register_sources(self) -> Sequence[SourceSpec[Any]]:
        """Where models come from.

        from pathlib import Path

        from embedwell import BlockingSource, ModelRef, Snapshot, SourceSpec, hookimpl
        from msgspec import Struct

        class Config(Struct, frozen=True, forbid_unknown_fields=True):
            folder: str = "models"

        class Folder(BlockingSource):
            def find(self, ref: ModelRef) -> Snapshot | None:
                path = Path(self.config.folder) / ref.name
                found = Snapshot.of_folder(path, "folder", ref.name) if path.is_dir() else None
                return found if found and ref.names(found.key) else None

        @hookimpl
        def register_sources():
            return [SourceSpec(name="folder", summary="models in a folder", priority=250,
                               config=Config, build=Folder)]
        """
        raise NotImplementedError

    @hookspec
    def register_caches(self) -> Sequence[CacheSpec[Any]]:
        """Which models stay loaded.

        from embedwell import Admit, CacheSpec, CacheState, Refuse, Review, Wanted, hookimpl
        from msgspec import Struct

        class Config(Struct, frozen=True, forbid_unknown_fields=True):
            pass

        class Everything:
            def __init__(self, config: Config) -> None: ...

            def decide(self, wanted: Wanted, state: CacheState) -> Admit | Refuse:
                fits = state.free_with(wanted.need) >= 0
                return Admit() if fits else Refuse("memory is full")

            def review(self, state: CacheState) -> Review:
                return Review()

        @hookimpl
        def register_caches():
            return [CacheSpec(name="everything", summary="never evicts",
                              config=Config, build=Everything)]
        """
        raise NotImplementedError

    @hookspec
    def register_plugins(self) -> Sequence[PluginSpec[Any]]:
        """Routes, guards and observers.

        from embedwell import Event, Plugin, PluginSpec, RequestFinished, hookimpl
        from msgspec import Struct

        class Config(Struct, frozen=True, forbid_unknown_fields=True):
            pass

        class Slow(Plugin):
            def observe(self, event: Event) -> None:
                if isinstance(event, RequestFinished) and event.seconds > 1:
                    print(event)

        @hookimpl
        def register_plugins():
            return [PluginSpec(name="slow", summary="prints slow requests",
                               config=Config, build=Slow)]
        """
        raise NotImplementedError
