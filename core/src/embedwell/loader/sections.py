"""Where the configuration speaks of plugins: their tables, and the settings that choose."""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from embedwell.config.schema import Config, Table


class Section(Struct, frozen=True):
    """What is said of one kind of spec: `tables` below `path`, and the names that are `chosen`."""

    path: str
    tables: dict[str, Table]
    chosen: Sequence[str] = ()

    def mentions(self, name: str) -> bool:
        """Whether it speaks of this one."""
        return name in self.tables or name in self.chosen


def sections(config: Config) -> Mapping[str, Section]:
    """By the kind of spec."""
    return {
        "source": Section("sources", config.sources.tables, config.sources.order),
        "cache": Section("cache", config.cache.tables, [config.cache.strategy]),
        "plugin": Section("plugins", config.plugins),
    }
