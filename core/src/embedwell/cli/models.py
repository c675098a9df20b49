"""`embedwell models`."""

import argparse
import asyncio

from embedwell.cli.output import table
from embedwell.cli.setup import prepare


def run(arguments: argparse.Namespace) -> int:
    """The local models as a table; reads, and takes no lock."""
    config, plugins = prepare(arguments)
    from embedwell.catalog import list_models

    cards = asyncio.run(list_models(config, plugins))
    if not cards:
        print("No local models. [sources.package.models] in config.toml maps tags to packages;")
        print("models of the Hugging Face Hub are downloaded when a request first names them.")
        return 0
    rows = [
        (
            card.name,
            card.source,
            str(card.dimensions or "-"),
            str(card.max_input_tokens or "-"),
            f"{card.bytes / 1e6:.0f} MB" if card.bytes else "-",
            card.problem or card.state,
        )
        for card in cards
    ]
    print(table(("MODEL", "SOURCE", "DIMENSIONS", "MAX TOKENS", "SIZE", "STATE"), rows))
    return 0
