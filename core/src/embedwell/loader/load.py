"""Everything that is installed, checked and configured."""

from collections.abc import Sequence

from embedwell.config.schema import Config
from embedwell.errors import ConfigurationError, PluginError
from embedwell.interfaces.status import PluginInfo
from embedwell.loader.infos import failed, taken
from embedwell.loader.origins import candidates
from embedwell.loader.plugins import Plugins, Registered
from embedwell.loader.registering import Registrar
from embedwell.loader.tables import configured


def load(config: Config, *, modules: Sequence[object] = ()) -> Plugins:
    """Installed plugins, and `modules` as if they were.

    Raises PluginError for one that the configuration names and that fails, or two of one name;
    ConfigurationError with every fault of the plugins' tables.
    """
    plugins, reasons = survey(config, modules=modules)
    if reasons:
        raise ConfigurationError(reasons)
    return plugins


def survey(config: Config, *, modules: Sequence[object] = ()) -> tuple[Plugins, Sequence[str]]:
    """As `load`, but returns the reasons; plugins whose tables are at fault are left out."""
    registrar = Registrar()
    found: list[Registered] = []
    infos: list[PluginInfo] = []
    for candidate in candidates(modules):
        try:
            items = registrar.register(candidate)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit, and panics of extension modules
            infos.append(failed(candidate.origin, error, config))
        else:
            found += items
            infos.append(taken(candidate.origin, items, config))
    _refuse_twins(found)
    return configured(found, infos, config)


def _refuse_twins(found: Sequence[Registered]) -> None:
    seen: dict[tuple[str, str], Registered] = {}
    for item in found:
        twin = seen.setdefault((item.kind, item.spec.name), item)
        if twin is not item:
            both = f"{twin.origin} and {item.origin}"
            raise PluginError(f'two {item.kind}s are named "{item.spec.name}": {both}')
