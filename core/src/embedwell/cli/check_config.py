"""`embedwell check-config`."""

import argparse

from embedwell.cli.output import paint
from embedwell.cli.setup import config_path, prepare


def run(arguments: argparse.Namespace) -> int:
    """Says that all is well; what is not is raised, all of it at once."""
    config, plugins = prepare(arguments, serving=True)
    from embedwell.engine import backends

    backends.create(config.engine.device, config.engine.dtype, config.engine.threads)
    where = config_path(arguments.config) or "the defaults"
    chain = " → ".join(item.spec.name for item in plugins.source_chain(config.sources.order))
    print(f"{paint('ok', 'green')}  {where}: sources {chain}; cache {config.cache.strategy}")
    return 0
