"""`embedwell check-config`."""

import argparse
import os

from embedwell.cli import places
from embedwell.cli.output import paint
from embedwell.cli.setup import config_path, examine
from embedwell.config.load import with_variables
from embedwell.errors import ConfigurationError


def run(arguments: argparse.Namespace) -> int:
    """Says that all is well; what is not is raised, all of it at once."""
    config, plugins, reasons = examine(arguments, serving=True)
    from embedwell.cli import trial

    later = [
        *places.faults(config.server),
        *trial.faults(config, plugins, complete=not reasons),
    ]
    reasons += with_variables(later, os.environ)
    if reasons:
        raise ConfigurationError([*dict.fromkeys(reasons)])
    where = config_path(arguments.config) or "the defaults"
    chain = " → ".join(item.spec.name for item in plugins.source_chain(config.sources.order))
    print(f"{paint('ok', 'green')}  {where}: sources {chain}; cache {config.cache.strategy}")
    return 0
