"""`embedwell serve`."""

import argparse
import os
import sys

from embedwell.cli.setup import prepare


def run(arguments: argparse.Namespace) -> int:
    """Serves until it is told to stop; the process ends here, whatever threads still run."""
    config, plugins = prepare(arguments, serving=True)
    from embedwell.serve import run as serve

    code = serve(config, plugins)
    sys.stdout.flush()
    os._exit(code)  # a thread that hangs in a forward pass or a download cannot be joined
