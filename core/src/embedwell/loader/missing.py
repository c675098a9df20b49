"""What to do about a name that the configuration has and nobody registered."""

from collections.abc import Sequence
from difflib import get_close_matches

from embedwell.interfaces.status import PluginInfo

DISTRIBUTIONS = {
    **{
        ("source", name): f"embedwell-source-{name}"
        for name in ("upload", "training", "github", "package", "huggingface")
    },
    ("cache", "fixed_size"): "embedwell-cache-fixed",
    ("cache", "vram_aware"): "embedwell-cache-vram",
    ("plugin", "auth"): "embedwell-plugin-auth",
    ("plugin", "metrics"): "embedwell-plugin-metrics",
}


def remedies(kind: str, name: str, infos: Sequence[PluginInfo]) -> str:
    """Install it, correct the name, or mend a plugin that failed and may have it."""
    return _remedy(kind, name, infos) + _failures(infos)


def _remedy(kind: str, name: str, infos: Sequence[PluginInfo]) -> str:
    """Only our own distributions are named: any other name could be anybody's."""
    own = DISTRIBUTIONS.get((kind, name))
    if own is not None:
        return f"pip install {own}"
    have = _provided(kind, infos)
    near = get_close_matches(name, have, n=1) or [other for other in have if name in other]
    if near:
        return f'did you mean "{near[0]}"?'
    return f"installed: {', '.join(sorted(have)) or 'none'}"


def _provided(kind: str, infos: Sequence[PluginInfo]) -> list[str]:
    """The names of this kind, also of those left out for want of a table."""
    prefix = f"{kind} "
    provided = [text for info in infos for text in info.provides]
    return [text.removeprefix(prefix) for text in provided if text.startswith(prefix)]


def _failures(infos: Sequence[PluginInfo]) -> str:
    failed = [f"{i.name} ({i.distribution}): {i.problem}" for i in infos if i.state == "failed"]
    return f"; or mend what is installed and failed: {', '.join(failed)}" if failed else ""
