"""`embedwell rm`: the server forgets a model."""

import argparse

from embedwell.cli.remote import printable, server
from embedwell.interfaces.models import ModelRef
from embedwell.interfaces.status import Deleted
from embedwell.models import tag as tags


def run(arguments: argparse.Namespace) -> int:
    """Says what was deleted; raises RemoteError where the server refuses, Invalid for no tag."""
    ref = tags.parse(arguments.tag)  # its grammar needs no escaping in a path
    done = server(arguments).ask("DELETE", f"/models/{ref}", Deleted)
    later = "; requests that hold it finish first" if done.state == "draining" else ""
    print(printable(f"deleted {_what(ref, done)} from {done.source}{later}"))
    return 0


def _what(ref: ModelRef, done: Deleted) -> str:
    if ref.revision or not done.revisions:  # an older server does not say
        return f"{done.model}@{done.revision}"
    count = len(done.revisions)
    return f"{done.model} ({count} revision{'s' if count > 1 else ''})"
