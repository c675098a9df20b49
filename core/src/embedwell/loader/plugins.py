"""What was registered, and how the configuration chooses from it."""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from embedwell.errors import ConfigurationError
from embedwell.interfaces.status import PluginInfo
from embedwell.loader.missing import remedies
from embedwell.loader.origins import Origin


class Registered(Struct, frozen=True):
    """A spec, its parsed configuration, and who brought it."""

    kind: str
    spec: Any
    origin: Origin
    config: Any = None


class Plugins(Struct, frozen=True):
    """Everything that is installed and usable; `infos` has what is not, too."""

    sources: Sequence[Registered]
    caches: Sequence[Registered]
    plugins: Sequence[Registered]
    infos: Sequence[PluginInfo]

    def source_chain(self, order: Sequence[str]) -> Sequence[Registered]:
        """Those in `order` first, then by falling priority; raises ConfigurationError."""
        names = [item.spec.name for item in self.sources]
        missing = [
            f'sources.order: "{name}" is not installed; {remedies("source", name, self.infos)}'
            for name in order
            if name not in names
        ]
        if missing:
            raise ConfigurationError(missing)

        def place(item: Registered) -> tuple[int, int, str]:
            name = item.spec.name
            listed = order.index(name) if name in order else len(order)
            return listed, -item.spec.priority, name

        return sorted(self.sources, key=place)

    def strategy(self, name: str) -> Registered:
        """Raises ConfigurationError."""
        for item in self.caches:
            if item.spec.name == name:
                return item
        what_to_do = remedies("cache", name, self.infos)
        raise ConfigurationError([f'cache.strategy: "{name}" is not installed; {what_to_do}'])
