"""`POST /models/huggingface`: a download ahead of use, or a branch's newest commit."""

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated

from msgspec import Meta, Struct

from embedwell import Invalid, Reply, Request, Route, Task

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(?:/[A-Za-z0-9_][A-Za-z0-9._-]*)*")


class Pull(Struct, frozen=True, forbid_unknown_fields=True):
    """Which model to download; the revision is a branch, a tag or a commit, `main` if none."""

    model: Annotated[str, Meta(max_length=200)]
    revision: Annotated[str, Meta(max_length=128)] | None = None


def possible(repo: str) -> bool:
    """Whether the Hub can have it: an owner, and none of what its names cannot contain."""
    return bool(NAME.fullmatch(repo)) and "--" not in repo and ".." not in repo


def routes(pull: Callable[[str, str], Awaitable[Task]]) -> Sequence[Route]:
    """The one route; `pull` starts the download of a model's revision."""

    async def handle(request: Request) -> Reply:
        asked: Pull = request.body
        if not possible(asked.model):
            raise Invalid("model: expected the Hub's own name, owner/name", param="model")
        revision = asked.revision or "main"
        if not REVISION.fullmatch(revision) or ".." in revision:
            raise Invalid("revision: expected a branch, a tag or a commit", param="revision")
        task = await pull(asked.model, revision)
        headers = {"location": f"/tasks/{task.id}"}
        return Reply(status=202, body=task, headers=headers, model=asked.model)

    return [
        Route(
            method="POST",
            path="/models/huggingface",
            handler=handle,
            access="manage",
            summary="Download a model of the Hugging Face Hub ahead of use, or refresh a branch",
            body=Pull,
            replies={202: Task},
            headers={"location": "The path of the task"},
            errors=("VALIDATION_ERROR", "NOT_FOUND", "FORBIDDEN", "SOURCE_ERROR", "INVALID_MODEL"),
        )
    ]
