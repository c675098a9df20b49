"""`embedwell plugins`."""

import argparse

from embedwell.cli.output import table
from embedwell.cli.setup import prepare


def run(arguments: argparse.Namespace) -> int:
    """Every installed plugin, and why one cannot be used."""
    _, plugins = prepare(arguments)
    rows = [
        (
            info.name,
            f"{info.distribution} {info.version}",
            info.state,
            ", ".join(info.provides) or "-",
            info.problem or info.summary,
        )
        for info in plugins.infos
    ]
    print(table(("PLUGIN", "DISTRIBUTION", "STATE", "PROVIDES", "ABOUT"), rows))
    return 0
