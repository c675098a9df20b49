"""Where plugins come from: entry points of what is installed, and modules that are given."""

from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import EntryPoint, entry_points

from msgspec import Struct

from embedwell.errors import PluginError

GROUP = "embedwell"


class Origin(Struct, frozen=True):
    """Where a plugin came from; `name` is its entry point's."""

    name: str
    distribution: str
    version: str

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}"


class Candidate(Struct, frozen=True):
    """A plugin that was found; `fetch` imports it, and raises whatever that raises."""

    origin: Origin
    fetch: Callable[[], object]


def candidates(modules: Sequence[object]) -> Sequence[Candidate]:
    """Installed plugins by name, then `modules`; raises PluginError for two of one name."""
    return [*_installed(), *map(_given, modules)]


def _installed() -> Iterator[Candidate]:
    seen: dict[str, EntryPoint] = {}
    for point in sorted(entry_points(group=GROUP), key=lambda p: (p.name, str(_origin(p)))):
        twin = seen.setdefault(point.name, point)
        if twin is point:
            yield Candidate(_origin(point), point.load)
        elif _origin(twin) != _origin(point):  # the same one may lie on the path twice
            both = f"{_origin(twin)} and {_origin(point)}"
            raise PluginError(f'two plugins are named "{point.name}": {both}; uninstall one')


def _origin(point: EntryPoint) -> Origin:
    dist = point.dist
    return Origin(point.name, dist.name if dist else "unknown", dist.version if dist else "?")


def _given(module: object) -> Candidate:
    name = getattr(module, "__name__", type(module).__name__)
    return Candidate(Origin(name, name, "given"), lambda: module)
