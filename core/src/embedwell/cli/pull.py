"""`embedwell pull`: the server downloads a model, and this shows how far it is."""

import argparse
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from embedwell.cli.progress import ProgressLine, size
from embedwell.cli.remote import RemoteError, Server, printable, server
from embedwell.errors import Invalid
from embedwell.interfaces.models import ModelRef
from embedwell.models import tag as tags

if TYPE_CHECKING:
    from embedwell.http.wire import TaskBody

POLL = 0.5  # seconds between two looks
TRIES = 20  # looks in a row that may fail
ENDED = ("done", "failed", "cancelled")


def run(arguments: argparse.Namespace) -> int:
    """Returns when the model is there; raises RemoteError for why it is not."""
    from embedwell.http.wire import TaskBody

    path, body = request(arguments.tag, arguments.subfolder, arguments.name)
    remote = server(arguments)
    task = remote.ask("POST", path, TaskBody, body)
    line = ProgressLine(arguments.tag)
    try:
        task = follow(remote, task, line, time.sleep)
    except KeyboardInterrupt:
        line.end()
        _left(remote, task)
        return 130
    line.end()
    return _told(arguments.tag, task)


def request(tag: str, subfolder: str | None, name: str | None) -> tuple[str, dict[str, str]]:
    """Where a tag is asked for, and with which body; raises Invalid."""
    ref = tags.parse(tag)
    owner, slash, repo = ref.name.partition("/")
    if not slash:
        source = "github:" if ref.source == "github" else ""
        raise Invalid(f"{tag}: an owner is missing: say {source}owner/name")
    revision = {"revision": ref.revision} if ref.revision else {}
    if ref.source == "github":
        return "/models/github", _github(ModelRef(ref.name), subfolder, name) | revision
    if ref.source not in (None, "huggingface"):
        raise Invalid(f"{tag}: only huggingface: and github: can be pulled from")
    if subfolder or name:
        raise Invalid("--subfolder and --name are for github:owner/repo only")
    return "/models/huggingface", {"model": f"{owner}/{repo}"} | revision


def _github(ref: ModelRef, subfolder: str | None, name: str | None) -> dict[str, str]:
    if subfolder and not name:
        raise Invalid("--subfolder needs --name: what the model is to be called")
    owner, _, repo = ref.name.partition("/")
    given = {"owner": owner, "repo": repo, "subfolder": subfolder, "model": name}
    return {key: value for key, value in given.items() if value}


def follow(
    remote: Server, task: "TaskBody", line: ProgressLine, sleep: Callable[[float], None]
) -> "TaskBody":
    """The task once it has ended; looks that fail for now are repeated, TRIES in a row."""
    failed = 0
    while task.status not in ENDED:
        line.show(task.progress.done, task.progress.total)
        sleep(POLL)
        try:
            task = remote.ask("GET", f"/tasks/{task.id}", type(task))
            failed = 0
        except RemoteError as error:
            failed += 1
            if not error.passing or failed == TRIES:
                raise
    return task


def _told(tag: str, task: "TaskBody") -> int:
    if task.status == "done":
        amount = f" ({size(task.progress.done)})" if task.progress.done else ""
        print(f"{tag} is there{amount}")
        return 0
    why = "it was cancelled" if task.status == "cancelled" else task.error
    raise RemoteError(f"{tag} was not downloaded: {why or 'the server gives no reason'}")


def _left(remote: Server, task: "TaskBody") -> None:
    print("The download goes on in the server. To cancel it:", file=sys.stderr)
    key = ' -H "Authorization: Bearer $EMBEDWELL_API_KEY"' if remote.has_key else ""
    where = f"{printable(remote.url)}/tasks/{printable(task.id)}"
    print(f"  curl -X DELETE{key} {where}", file=sys.stderr)
