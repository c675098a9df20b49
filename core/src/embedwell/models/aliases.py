"""Names of the operator's own for tags, and tags in the configuration: checked before the start."""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from embedwell.config.schema import Config
from embedwell.errors import ConfigurationError, Invalid
from embedwell.interfaces.models import ModelRef
from embedwell.models import tag as tags


class Settled(Struct, frozen=True):
    """The tags that a configuration names, taken apart."""

    aliases: Mapping[str, ModelRef]
    preload: tuple[ModelRef, ...]
    pinned: tuple[ModelRef, ...]


def settle(config: Config) -> Settled:
    """Raises ConfigurationError with every tag that is none."""
    reasons: list[str] = []
    settled = Settled(
        _aliases(config, reasons),
        _refs(config.engine.preload, "engine.preload", reasons),
        _refs(config.cache.pinned, "cache.pinned", reasons),
    )
    if reasons:
        raise ConfigurationError(reasons)
    return settled


def _aliases(config: Config, reasons: list[str]) -> Mapping[str, ModelRef]:
    found: dict[str, ModelRef] = {}
    for name, tag in config.aliases.items():
        path = f'aliases."{name[:100]}"'
        own, target = _parsed(name, path, reasons), _parsed(tag, path, reasons)
        if own is None or target is None:
            continue
        if own != ModelRef(own.name):
            reasons.append(f"{path}: an alias has neither a source nor a revision")
        elif target.source is None and target.name in config.aliases:
            reasons.append(f"{path}: {tag} is an alias itself; name its target")
        found[own.name] = target
    return found


def _refs(given: Sequence[str], path: str, reasons: list[str]) -> tuple[ModelRef, ...]:
    found = [_parsed(tag, path, reasons) for tag in given]
    return tuple(ref for ref in found if ref is not None)


def _parsed(text: str, path: str, reasons: list[str]) -> ModelRef | None:
    try:
        return tags.parse(text)
    except Invalid as error:
        reasons.append(f"{path}: {error.message}")
        return None
