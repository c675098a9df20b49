"""`embedwell plugins`."""

import argparse

from embedwell.cli.output import table
from embedwell.cli.setup import prepare
from embedwell.interfaces.status import PluginInfo


def run(arguments: argparse.Namespace) -> int:
    """Every installed plugin, and why one cannot be used."""
    _, plugins = prepare(arguments)
    rows = [
        (
            info.name,
            f"{info.distribution} {info.version}",
            info.state,
            ", ".join(info.provides) or "-",
            _about(info),
        )
        for info in plugins.infos
    ]
    print(table(("PLUGIN", "DISTRIBUTION", "STATE", "PROVIDES", "ABOUT"), rows))
    return 0


def _about(info: PluginInfo) -> str:
    if info.summary and info.problem:
        return f"{info.summary} ({info.problem})"
    return info.problem or info.summary
