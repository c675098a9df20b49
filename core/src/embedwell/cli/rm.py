"""`embedwell rm`: the server forgets a model."""

import argparse

from embedwell.cli.remote import printable, server
from embedwell.interfaces.status import Deleted
from embedwell.models import tag as tags


def run(arguments: argparse.Namespace) -> int:
    """Says what was deleted; raises RemoteError where the server refuses, Invalid for no tag."""
    tag = str(tags.parse(arguments.tag))  # its grammar needs no escaping in a path
    done = server(arguments).ask("DELETE", f"/models/{tag}", Deleted)
    later = "; requests that hold it finish first" if done.state == "draining" else ""
    print(printable(f"deleted {done.model}@{done.revision} from {done.source}{later}"))
    return 0
